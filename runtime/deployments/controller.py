"""The controller: brings all deployments of a workspace to what is declared, and keeps them there.

    with Controller(workspace, balancer, unit_of) as controller:
        controller.run()

What a deployment is, is its unit's affair (port.py). Each has a thread of its own, so that a stuck
one blocks no other; one more thread has the balancer. What runs goes on when the controller ends,
in any way, and the next one finds it. Of two controllers of a workspace the second waits.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.errors import EdgeError
from registry import Workspace
from registry.clock import utc_now
from registry.deployments import Deployment, Observed
from registry.errors import NotFoundError, RegistryError
from runtime.balance.balancer import Balancer, ServiceState
from runtime.balance.declared import Balance, Service
from runtime.balance.errors import BalanceError, CertificateError
from runtime.deployments.culprit import culprit
from runtime.deployments.figures import (
    ControllerFigures,
    Glance,
    Measured,
    TickFigures,
    UnitFigures,
)
from runtime.deployments.port import Unit, UnitOf

TICK_S = 0.5
SLOW_TICK_S = 2.0
"""After an error."""
SHOWN = "controller.shown"
CLOSE_S = 60.0
"""For the threads of all deployments to end what they have begun."""

logger = logging.getLogger("inferry.deployments")


class Controller:
    """``unit_of`` is asked once for each deployment, and again where it failed. ``tick_s``: how
    often each is looked at."""

    def __init__(
        self,
        workspace: Workspace,
        balancer: Balancer,
        unit_of: UnitOf,
        *,
        tick_s: float = TICK_S,
        told: Callable[[str], None] = lambda line: None,
        metrics: tuple[str, int] | None = None,
    ) -> None:
        """``metrics``: address and port where HAProxy shows its own to Prometheus."""
        self._workspace, self._balancer, self._unit_of = workspace, balancer, unit_of
        self._metrics = metrics
        self._tick_s, self._told = tick_s, told
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._state = threading.Lock()
        self._names: frozenset[str] = frozenset()
        """Of what is declared."""
        self._looked: set[str] = set()
        """What an earlier controller left of these has been looked at."""
        self._services: dict[str, Service] = {}
        self._balanced: Mapping[str, ServiceState] = {}
        self._refused: dict[str, str] = {}
        """Why the balancer has not what a deployment wants."""
        self._began_s = self._balanced_s = time.monotonic()
        self._ticks: dict[str, TickFigures] = {}
        self._units: dict[str, UnitFigures] = {}
        self._held = contextlib.ExitStack()

    def __repr__(self) -> str:
        return f"Controller({self._workspace.root}, {len(self._threads)} deployments)"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as held:
            held.enter_context(self._balancer)
            # What an earlier controller opened stays until its deployment has been looked at.
            self._services = {each.name: each for each in self._balancer.declared.services}
            self._held = held.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Replicas and balancer go on."""
        self.stop()
        deadline = time.monotonic() + CLOSE_S
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._held, contextlib.suppress(RegistryError, BalanceError):
            if not self._workspace.deployments.changes():
                self._end_balancer()

    def stop(self) -> None:
        """``run`` returns soon."""
        self._stopping.set()

    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopping.is_set():
            try:
                self._begin_units()
                self._balance()
            except (RegistryError, BalanceError) as error:
                logger.warning("%s", error)
                self._stopping.wait(SLOW_TICK_S)
            except Exception:
                # What nobody foresaw must not leave all deployments without a controller.
                logger.exception("the controller goes on after")
                self._stopping.wait(SLOW_TICK_S)
            self._stopping.wait(self._tick_s / 2)

    def figures(self) -> ControllerFigures:
        """What it has in numbers; any thread may ask."""
        with self._state:
            found = {
                name: Glance(
                    replace(ticks, is_alive=self._threads[name].is_alive()),
                    self._units.get(name),
                    self._balanced.get(name),
                )
                for name, ticks in self._ticks.items()
                if name in self._threads
            }
            restarts = self._balancer.keeper.restarts
            return ControllerFigures(self._began_s, self._balanced_s, restarts, found)

    # Threads.

    def _begin_units(self) -> None:
        names = self._workspace.deployments.changes()
        self._names = frozenset(names)
        with self._state:
            for gone in [name for name in self._services if name not in names]:
                del self._services[gone]
            for gone in [name for name in self._ticks if name not in names]:
                del self._ticks[gone]
                self._units.pop(gone, None)
        for name in names:
            thread = self._threads.get(name)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(
                    target=self._keep, args=(name,), name=f"deployment {name}", daemon=True
                )
                self._threads[name] = thread
                with self._state:
                    self._ticks.setdefault(name, TickFigures(time.monotonic()))
                thread.start()

    def _keep(self, name: str) -> None:
        """One deployment, until it is gone or the controller ends."""
        unit: Unit | None = None
        try:
            while not self._stopping.is_set():
                wait_s = self._tick_s
                try:
                    unit = unit or self._unit(name)
                    if unit is None:
                        wait_s = SLOW_TICK_S
                        self._ticked(name, time.monotonic(), None)
                    elif not self._tick(unit):
                        return
                except NotFoundError:
                    return
                except RegistryError as error:  # it is locked for long, or the disk is full
                    logger.warning("the deployment %s waits: %s", name, error)
                    wait_s = SLOW_TICK_S
                except Exception:
                    # One that fails in a way that nobody foresaw must not take others along.
                    logger.exception("the deployment %s goes on after", name)
                    wait_s = SLOW_TICK_S
                self._stopping.wait(wait_s)
        finally:
            if unit is not None:
                unit.close()

    def _unit(self, name: str) -> Unit | None:
        """None where its target cannot be had, which its state says."""
        declared = self._workspace.deployments.get(name)
        try:
            return self._unit_of(declared)
        except EdgeError as error:
            self._lost(declared, str(error))
            return None

    def _lost(self, declared: Deployment, cause: str) -> None:
        before = declared.observed
        if before is not None and (before.state, before.cause) == ("failed", cause):
            return
        self._told(f"{declared.name} failed: {cause}")
        memory = "" if before is None else before.memory
        self._workspace.deployments.observe(
            declared.name,
            Observed("failed", cause, None, declared.change, (), utc_now(), memory),
        )

    def _tick(self, unit: Unit) -> bool:
        """False: it is gone."""
        with self._state:
            balanced, refused = self._balanced.get(unit.name), self._refused.get(unit.name, "")
        before, began_s = unit.shown, time.monotonic()
        unit.tick(began_s, balanced, refused)
        self._ticked(unit.name, began_s, unit)
        if unit.shown != before:
            self._told(f"{unit.name} {unit.shown}")
        if not unit.is_known and not unit.is_gone:
            return True  # what an earlier controller opened stays as it is
        with self._state:
            self._looked.add(unit.name)
            if unit.service is None:
                self._services.pop(unit.name, None)
            else:
                self._services[unit.name] = unit.service
        if unit.is_gone:
            self._told(f"{unit.name} is gone")
        return not unit.is_gone

    def _ticked(self, name: str, began_s: float, unit: Unit | None) -> None:
        """It was looked at. ``unit``: None where its target cannot be had."""
        now_s = time.monotonic()
        with self._state:
            old = self._ticks.get(name, TickFigures(now_s))
            seconds = old.seconds + now_s - began_s
            self._ticks[name] = TickFigures(now_s, old.count + 1, seconds)
            if unit is not None and isinstance(unit, Measured):
                self._units[name] = unit.figures

    # The balancer.

    def _balance(self) -> None:
        with self._state:
            services, is_all_known = dict(self._services), self._names <= self._looked
        refused: dict[str, str] = {}
        if services:
            refused = self._apply(services)
        elif is_all_known:  # until then HAProxy may have what nobody has said yet
            self._end_balancer()
        try:
            balanced = self._balancer.services()
        except BalanceError as error:
            logger.warning("%s", error)
            balanced = {}
        with self._state:
            self._refused, self._balanced = refused, balanced
            self._balanced_s = time.monotonic()

    def _end_balancer(self) -> None:
        """Nothing is to be open: HAProxy is not needed before something is."""
        if not self._balancer.is_needless:
            self._balancer.end()

    def _apply(self, services: Mapping[str, Service]) -> dict[str, str]:
        """All that can be had: what one of them lacks (a port, a certificate) the others must not
        miss. Returns why some are left out."""
        refused: dict[str, str] = {}
        left, keeping = dict(services), set[str]()
        while True:
            wanted = [left[name] for name in sorted(left)]
            try:
                self._balancer.apply(_balance_of(wanted, self._metrics), keep_certificates=keeping)
                return refused
            except BalanceError as error:
                now = datetime.datetime.now(datetime.UTC)
                found = culprit(wanted, self._balanced, now, forgiven=keeping)
                if found is None and self._metrics is not None:
                    logger.warning("HAProxy's metrics are left out from now on: %s", error)
                    self._metrics = None
                    continue
                if found is None:
                    return dict.fromkeys(services, str(error))
                name, said = found
                refused[name] = said or str(error)
                is_old = isinstance(error, CertificateError) and name not in keeping
                if is_old and self._balancer.has_certificate(name):
                    keeping.add(name)  # a service goes on with the one that it has
                else:
                    del left[name]


def _balance_of(services: Sequence[Service], metrics: tuple[str, int] | None) -> Balance:
    if metrics is None:
        return Balance(tuple(services))
    return Balance(tuple(services), metrics_address=metrics[0], metrics_port=metrics[1])


@contextlib.contextmanager
def only_controller(root: Path, *, wait_s: float | None = None) -> Iterator[bool]:
    """Hold the workspace's controller lock for the block; of two the second waits, at most
    ``wait_s`` (None: for ever). False: another one has it still."""
    folder = root / "deployments"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "controller.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = None if wait_s is None else time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(0.1)
        with _shown(folder):
            yield True
    finally:
        os.close(handle)


def is_controlled(root: Path) -> bool:
    """Whether a controller of the workspace runs. To look takes nothing from one that begins."""
    try:
        handle = os.open(root / "deployments" / SHOWN, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextlib.contextmanager
def _shown(folder: Path) -> Iterator[None]:
    """Who looks holds this lock for a moment, which is waited for; the one that says who the
    controller is, nobody holds to look."""
    handle = os.open(folder / SHOWN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
