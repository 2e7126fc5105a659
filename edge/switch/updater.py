"""One module, brought from version to version. Has a thread of its own, and a keeper with another.

    unit = ModuleUpdater("digits", parts, may_start=lambda: True)
    unit.want(module)          # returns at once; the newest supersedes
    unit.report()
    unit.stop()                # what runs goes on

The order of things, and what a kill leaves: machine.py. This file does what the states say: each
step is on disk before it is done, and can be done again.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from edge.errors import (
    EdgeError,
    GateError,
    HostError,
    NoSpaceError,
    PullError,
    UntrustedError,
)
from edge.hosts.port import InstanceId, ModuleHost, Observed
from edge.keeping.keeper import LiveKeeper
from edge.keeping.port import LiveView
from edge.messages.desired import HostKind, Module
from edge.messages.reported import ModuleReport
from edge.stock.port import Puller, Stock, StoredImage
from edge.switch.bundles import ModuleFolders
from edge.switch.gate import Gate, find
from edge.switch.golden import Golden, made_from_signature, read_golden
from edge.switch.locks import LockBoard, waits_for
from edge.switch.machine import COMMITTED, PREPARING, State, move
from edge.switch.plan import choose_host, instance, is_model_only
from edge.switch.record import Record, Records, Release
from edge.switch.shadow import run_shadow

log = logging.getLogger(__name__)
LOOK_S = 0.2
IDLE_S = 5.0
FIRST_RETRY_S, MAX_RETRY_S = 2.0, 300.0
GRACE_S = 10.0
MEND_EVERY_S = 30.0
HOST_TRIES = 3
"""A host that fails so often with an image, and not with others, fails because of it."""
RELOAD_S = 1.5
"""After a reload the old processes may answer for so long."""


class _Superseded(Exception):
    """Something else is wanted, or it is the end."""


class Closable(Protocol):
    """A module's endpoint."""

    def close(self) -> None:
        """Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What all units of a device share. ``hosts``: by kind, the preferred first. ``pinned``: images
    of all modules, which must not make room for others. ``may_pull``: None, or what a pull waits
    for ("window"). ``now_s``: UTC since 1970, the hub's if it is known. ``endpoint``: opens what
    the module's application speaks to, in a folder."""

    state: Path
    hosts: Mapping[str, ModuleHost]
    stock: Stock
    puller: Puller
    records: Records
    locks: LockBoard = field(default_factory=LockBoard)
    pinned: Callable[[], set[str]] = lambda: set()
    may_pull: Callable[[], str | None] = lambda: None
    now_s: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    on_change: Callable[[], None] = lambda: None
    endpoint: Callable[[str, Path], Closable] | None = None
    event: Callable[[str, Mapping[str, object]], None] = lambda kind, body: None


@dataclass(slots=True)
class _Progress:
    """What is shown of the step under way."""

    waiting_for: str | None = None
    done_bytes: int | None = None
    total_bytes: int | None = None
    error: str | None = None


class ModuleUpdater:
    """The unit of edge/agent/modules.py."""

    def __init__(
        self, name: str, tools: Tools, may_start: Callable[[], bool], *, is_started: bool = True
    ) -> None:
        self.name = name
        self._tools = tools
        self._may_start = may_start
        self._folders = ModuleFolders(tools.state, name, tools.stock)
        self._record = tools.records.load(name)
        self._keepers: dict[str, LiveKeeper] = {}
        self._guard = threading.Lock()
        self._wanted: Module | None = None
        self._generation = 0
        self._progress = _Progress()
        self._failures = 0
        self._restarts_before = 0
        self._next_mend_s = 0.0
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._endpoint: Closable | None = None
        if tools.endpoint is not None:
            self._folders.make()
            self._endpoint = tools.endpoint(name, self._folders.run)
        self._thread = threading.Thread(target=self._run, name=f"update {name}", daemon=True)
        if is_started:
            self._thread.start()

    def __repr__(self) -> str:
        return f"ModuleUpdater({self.name}, {self._record.state})"

    # The unit.

    def want(self, module: Module) -> None:
        with self._guard:
            if self._wanted != module:
                self._wanted = module
                self._generation += 1
                self._failures = 0
        self._wake.set()

    def report(self) -> ModuleReport:
        record, wanted, progress = self._record, self._wanted, self._progress
        view = self._view()
        live = record.live
        is_failed = record.at is State.FAILED and wanted in (None, record.failed)
        phase = record.at.phase
        if record.at in COMMITTED and not is_failed:
            is_there = wanted is None or (live is not None and live.module == wanted)
            phase = "idle" if is_there else "waiting"
        answers = live.module.digest if live is not None and view.digest is not None else None
        error = progress.error or (record.error if is_failed else None)
        return ModuleReport(
            name=self.name,
            image=live.module.image if live is not None else None,
            digest=answers,
            wanted=wanted.digest if wanted is not None else None,
            phase=phase,
            health=view.health,
            host=live.host if live is not None else None,
            restarts=view.restarts,
            started_at_ms=None if view.started_at_s is None else round(view.started_at_s * 1000),
            exit_code=view.exit_code,
            waiting_for=progress.waiting_for,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            error=error or view.error,
            check=record.check if is_failed else None,
            previous=record.previous.module.image if record.previous is not None else None,
            port=view.port,
        )

    def digests(self) -> set[str]:
        wanted = self._wanted
        return self._record.digests | ({wanted.digest} if wanted is not None else set())

    def restart(self) -> None:
        """Raises HostError when nothing is in service."""
        live = self._record.live
        if live is None:
            raise HostError(f"{self.name} is not in service yet")
        self._keeper(live.host).restart()

    def logs(self, lines: int) -> str:
        live = self._record.live
        if live is None:
            raise HostError(f"{self.name} is not in service yet")
        return self._tools.hosts[live.host].logs(InstanceId(self.name, "live"), lines)

    def forget_failure(self) -> None:
        """Try again what was given up."""
        with self._guard:
            if self._record.at is State.FAILED:
                self._put(msgspec.structs.replace(
                    self._record, state=State.IDLE.value, failed=None, error=None, check=None
                ))  # fmt: skip
        self._wake.set()

    def remove(self) -> None:
        """Raises HostError; may be called again."""
        self._end_thread()
        for keeper in self._keepers.values():
            keeper.close()
        for host in self._tools.hosts.values():
            for slot in ("next", "live"):
                host.stop(InstanceId(self.name, slot), GRACE_S)
        self._tools.records.remove(self.name)
        self._record = Record()
        self._folders.remove()

    def stop(self) -> None:
        self._end_thread()
        for keeper in self._keepers.values():
            keeper.close()

    # The thread.

    def _end_thread(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(GRACE_S)
        if self._endpoint is not None:
            self._endpoint.close()

    def _run(self) -> None:
        self._drop_next()  # of an agent that was killed
        while not self._stopping.is_set():
            try:
                wait_s = self.step()
            except Exception:
                log.exception("%s: unexpected; it goes on", self.name)
                wait_s = self._retry_s()
            if wait_s > 0 and self._wake.wait(wait_s):
                self._wake.clear()

    def step(self) -> float:
        """Do what is due; returns how long nothing will be, unless woken. Raises no EdgeError."""
        try:
            return self._step()
        except _Superseded:
            self._drop_next()
            return 0.0
        except EdgeError as error:
            self._show(error=str(error))
            return self._retry_s()

    def _step(self) -> float:
        record = self._record
        if record.at is State.SWITCHING:
            self._finish_switch(record)
            return 0.0
        if record.at is State.WATCHING:
            self._keep(record)
            self._watch(record)
            return 0.0
        if record.at is State.ROLLING_BACK:
            self._finish_rollback(record)
            return 0.0
        self._keep(record)
        wanted = self._wanted
        if wanted is None or not self._is_to_do(record, wanted):
            self._show()
            self._mend(record)
            return IDLE_S
        return self._update(wanted)

    def _mend(self, record: Record) -> None:
        """What a power cut, or someone, took from what is in service: prepared again from the
        device's own store, and fetched again if that lacks it."""
        live, now = record.live, self._tools.clock()
        if live is None or now < self._next_mend_s:
            return
        self._next_mend_s = now + MEND_EVERY_S
        for digest in live.digests:
            if not self._tools.stock.has(digest):
                self._tools.puller.pull(
                    live.module.image,
                    digest,
                    keep=sorted(self._tools.pinned() | self.digests()),
                    on_progress=lambda done, total: None,
                    is_cancelled=self._stopping.is_set,
                )
        if self._view().health in ("unhealthy", "stopped"):
            self._tools.hosts[live.host].prepare(live.runtime, self._stopping.is_set)
            self._folders.put("live", live.module.digest)
            self._folders.serve("live", live.module.digest)

    def _is_to_do(self, record: Record, wanted: Module) -> bool:
        if record.live is not None and record.live.module == wanted:
            return False
        return record.failed != wanted

    def _update(self, wanted: Module) -> float:
        """From what is in service to ``wanted``."""
        generation = self._generation
        check = self._check_of(generation)
        if self._record.live is not None and _is_same_instance(self._record.live.module, wanted):
            self._adopt(wanted)
            return 0.0
        try:
            self._move(State.PULLING)
            image = self._pull(wanted, check)
            self._move(State.LOADING)
            kind = choose_host(wanted, image, list(self._tools.hosts))
            runtime, is_reload = self._runtime(wanted, image, kind)
            if not is_reload:
                self._tools.hosts[kind].prepare(wanted.digest, lambda: self._is_over(generation))
            check()
            self._move(State.WAITING)
            self._await_turn(wanted, check)
            release = Release(wanted, runtime, kind)
            self._try(release, image, check)
            self._begin_switch(release)
        except (GateError, UntrustedError) as error:
            self._give_up(wanted, error)
        except PullError as error:
            return self._put_off(wanted, error)
        except HostError as error:
            self._check_or_raise(generation)
            return self._put_off(wanted, error)
        except OSError as error:
            return self._put_off(wanted, HostError(f"the device's disk: {error.strerror or error}"))
        return 0.0

    def _pull(self, wanted: Module, check: Callable[[], None]) -> StoredImage:
        while True:
            check()
            waits = None if self._tools.stock.has(wanted.digest) else self._tools.may_pull()
            if waits is None:
                break
            self._show(waiting_for=waits)
            self._pause(1.0)
        generation = self._generation
        last = [0.0]

        def on_progress(done: int, total: int) -> None:
            now = self._tools.clock()
            if now - last[0] >= 1.0 or done == total:
                last[0] = now
                self._show(done_bytes=done, total_bytes=total)

        self._show()
        keep = sorted(self._tools.pinned() | self.digests())
        try:
            image = self._tools.puller.pull(
                wanted.image,
                wanted.digest,
                keep=keep,
                on_progress=on_progress,
                is_cancelled=lambda: self._is_over(generation),
            )
        except PullError:
            self._check_or_raise(generation)
            raise
        self._show()
        return image

    def _runtime(self, wanted: Module, image: StoredImage, kind: HostKind) -> tuple[str, bool]:
        """(the image to run, whether a reload suffices)."""
        live = self._record.live
        if live is None or live.host != kind or not self._tools.stock.has(live.runtime):
            return wanted.digest, False
        old = self._tools.stock.image(live.runtime)
        if is_model_only(live, wanted, old, image):
            return live.runtime, True
        return wanted.digest, False

    def _await_turn(self, wanted: Module, check: Callable[[], None]) -> None:
        """For the first start its order, for a switch windows, locks and the application."""
        began = self._tools.clock()
        while True:
            check()
            if self._record.live is None:
                waits = None if self._may_start() else "order"
            else:
                locks = self._tools.locks
                waits = waits_for(
                    wanted.update,
                    self._tools.now_s(),
                    self._tools.clock() - began,
                    locks.held(self.name),
                    locks.is_ready(self.name),
                )
            if waits is None:
                self._show()
                return
            self._show(waiting_for=waits)
            self._pause(0.5)

    def _try(self, release: Release, image: StoredImage, check: Callable[[], None]) -> None:
        """Start it beside the old one, and let it show what it can. Raises GateError."""
        module, host = release.module, self._tools.hosts[release.host]
        self._folders.put("live", module.digest)
        if module.update.strategy == "replace" and self._record.live is not None:
            return  # it is tried in its place, in the switch
        self._move(State.STARTING)
        next_id = InstanceId(self.name, "next")
        self._start_next(release, image)
        gate = Gate(module, host, check, clock=self._tools.clock)
        try:
            new = gate.await_ready(next_id)
            self._move(State.GATING)
            old = self._live_seen()
            golden = self._golden(module.digest)
            if golden is not None:
                gate.pass_golden(new, old, golden)
            self._move(State.SHADOWING)
            if module.update.shadow_s > 0 and old is not None:
                run_shadow(module, new, self._folders.run, check, self._tools.clock, self._pause)
        except BaseException:
            self._drop_next()
            raise
        check()

    def _start_next(self, release: Release, image: StoredImage) -> None:
        module = release.module
        self._folders.put("next", module.digest)
        self._folders.serve("next", module.digest)
        self._tools.hosts[release.host].start(
            instance(
                module, "next", release.runtime, image.kind,
                self._folders.slot("next"), self._folders.run,
            )
        )  # fmt: skip

    def _golden(self, digest: str) -> Golden | None:
        data = self._tools.stock.golden(digest)
        if data is not None:
            return read_golden(data)
        try:
            return made_from_signature(
                (self._tools.stock.bundle(digest) / "bundle.json").read_bytes()
            )
        except OSError:
            return None

    # The switch.

    def _begin_switch(self, release: Release) -> None:
        """From here on it is decided: a kill goes forward."""
        old = self._record.live
        move(self._record.at, State.SWITCHING)
        self._put(Record(State.SWITCHING.value, release, old))
        self._finish_switch(self._record)

    def _finish_switch(self, record: Record) -> None:
        """Bring ``record.live`` into service, and see it there. Idempotent."""
        release, old = record.live, record.previous
        assert release is not None
        began = self._tools.clock()
        try:
            self._serve(release, old)
            self._drop_next()
            gate = Gate(release.module, self._tools.hosts[release.host], self._check_stop)
            seen = gate.await_ready(InstanceId(self.name, "live"))
            golden = self._golden(release.module.digest)
            if golden is not None:
                gate.pass_golden(seen, None, golden)
        except (GateError, EdgeError, OSError) as error:
            self._check_stop()
            self._roll_back(record, error)
            return
        self._tools.locks.used(self.name)
        self._tools.event(
            "switched",
            {
                "module": self.name,
                "image": release.module.image,
                "before": old.module.image if old is not None else None,
                "seconds": round(self._tools.clock() - began, 3),
                "reloaded": old is not None and old.runtime == release.runtime,
            },
        )
        self._put(msgspec.structs.replace(record, state=State.WATCHING.value))

    def _serve(self, release: Release, old: Release | None) -> None:
        """Make ``release`` what is live, in place of ``old``."""
        tools, module = self._tools, release.module
        image = tools.stock.image(release.runtime)
        self._folders.put("live", module.digest)
        if old is not None and old.host != release.host:
            self._keeper(old.host).set(None, old.module.restart, old.module.probe)
            tools.hosts[old.host].stop(InstanceId(self.name, "live"), GRACE_S)
        keeper = self._keeper(release.host)
        is_reload = old is not None and old.runtime == release.runtime and old.host == release.host
        if not is_reload:
            tools.hosts[release.host].prepare(release.runtime, self._stopping.is_set)
        wanted = self._instance(release, image.kind)
        live_id = InstanceId(self.name, "live")
        with keeper.hands_off():
            self._folders.serve("live", module.digest)
            if is_reload and self._is_running(release.host):
                tools.hosts[release.host].reload(live_id)
            else:
                # By ourselves: what answers from here on is this one, and not the one before.
                tools.hosts[release.host].start(wanted)
            keeper.set(wanted, module.restart, module.probe)
            self._restarts_before = keeper.view().restarts if is_reload else 0
        if is_reload:
            self._pause(RELOAD_S)

    def _watch(self, record: Record) -> None:
        """For ``watch_s``: what ends or gets ill goes back to the old version."""
        release = record.live
        assert release is not None
        deadline = self._tools.clock() + release.module.update.watch_s
        while self._tools.clock() < deadline:
            self._check_stop()
            if self._is_wanted_other(release.module):
                break  # the newest supersedes; what is live is as good as it showed
            trouble = _trouble(self._view(), self._restarts_before)
            if trouble is not None:
                self._roll_back(record, GateError("health", trouble))
                return
            self._pause(LOOK_S)
        self._put(msgspec.structs.replace(record, state=State.IDLE.value))
        self._release_others()

    def _roll_back(self, record: Record, error: Exception) -> None:
        assert record.live is not None
        log.warning("%s: %s is given up: %s", self.name, record.live.module.image, error)
        self._put(
            Record(
                State.ROLLING_BACK.value,
                record.live,
                record.previous,
                record.live.module,
                str(error),
                getattr(error, "check", None),
            )
        )
        self._finish_rollback(self._record)

    def _finish_rollback(self, record: Record) -> None:
        """Bring ``record.previous`` back; with none, stop. Idempotent, and needs no network."""
        bad, old = record.live, record.previous
        assert bad is not None
        began = self._tools.clock()
        self._drop_next()
        if old is None:
            keeper = self._keeper(bad.host)
            keeper.set(None, bad.module.restart, bad.module.probe)
            self._tools.hosts[bad.host].stop(InstanceId(self.name, "live"), GRACE_S)
        else:
            self._serve(old, bad)
            if bad.runtime == old.runtime:
                # It may have died of what it was reloaded with: begin it anew.
                view = self._view()
                if view.health != "healthy":
                    self._keeper(old.host).restart()
        self._put(Record(State.FAILED.value, old, None, record.failed, record.error, record.check))
        self._tools.event(
            "rolled back",
            {
                "module": self.name,
                "image": bad.module.image,
                "to": old.module.image if old is not None else None,
                "why": record.error,
                "check": record.check,
                "seconds": round(self._tools.clock() - began, 3),
            },
        )
        self._release_others()

    # Small things.

    def _adopt(self, wanted: Module) -> None:
        """Only how it is looked after has changed: nothing restarts."""
        live = self._record.live
        assert live is not None
        release = Release(wanted, live.runtime, live.host)
        self._put(msgspec.structs.replace(
            self._record, state=State.IDLE.value, live=release, failed=None, error=None, check=None
        ))  # fmt: skip
        self._keep(self._record)

    def _keep(self, record: Record) -> None:
        """Have the keeper look after what was committed."""
        live = record.live
        if live is None:
            return
        keeper = self._keeper(live.host)
        try:
            image = self._tools.stock.image(live.runtime)
            kind: str = image.kind
        except EdgeError:
            kind = "bundle" if self._folders.served("live") else "container"
        keeper.set(self._instance(live, kind), live.module.restart, live.module.probe)

    def _instance(self, release: Release, kind: str) -> Any:
        return instance(
            release.module, "live", release.runtime, kind,
            self._folders.slot("live"), self._folders.run,
        )  # fmt: skip

    def _keeper(self, host: str) -> LiveKeeper:
        found = self._keepers.get(host)
        if found is None:
            if host not in self._tools.hosts:
                raise HostError(f"{self.name} ran in {host}, which this device has no more")
            found = self._keepers[host] = LiveKeeper(self.name, self._tools.hosts[host])
            found.open()
        return found

    def _view(self) -> LiveView:
        live = self._record.live
        if live is None or live.host not in self._keepers:
            return LiveView(None, "stopped")
        return self._keepers[live.host].view()

    def _live_seen(self) -> Observed | None:
        live = self._record.live
        if live is None:
            return None
        seen = find(self._tools.hosts[live.host], InstanceId(self.name, "live"))
        return seen if seen is not None and seen.state == "running" and seen.port else None

    def _is_running(self, host: str) -> bool:
        seen = find(self._tools.hosts[host], InstanceId(self.name, "live"))
        return seen is not None and seen.state == "running"

    def _drop_next(self) -> None:
        """The candidate, wherever it was started. What fails here is tried with the next one."""
        for host in self._tools.hosts.values():
            try:
                if find(host, InstanceId(self.name, "next")) is not None:
                    host.stop(InstanceId(self.name, "next"), GRACE_S)
            except HostError as error:
                log.warning("%s: the candidate was not stopped: %s", self.name, error)
                return
        self._folders.clean("next", set())

    def _give_up(self, wanted: Module, error: EdgeError) -> None:
        """Nothing was switched: what was in service still is."""
        log.warning("%s: %s does not pass: %s", self.name, wanted.image, error)
        move(self._record.at, State.FAILED)
        check = getattr(error, "check", None)
        self._put(Record(
            State.FAILED.value, self._record.live, self._record.previous, wanted, str(error), check
        ))  # fmt: skip
        self._show()
        self._tools.event(
            "refused",
            {"module": self.name, "image": wanted.image, "why": str(error), "check": check},
        )

    def _put_off(self, wanted: Module, error: EdgeError) -> float:
        """Try again later, for ever; permanent errors too, as someone may mend the other side."""
        self._failures += 1
        if isinstance(error, HostError) and self._failures >= HOST_TRIES:
            self._give_up(wanted, GateError("health", str(error)))
            return 0.0
        waiting_for = "network"
        if isinstance(error, PullError) and not error.is_temporary:
            waiting_for = "registry"
        if isinstance(error, NoSpaceError):
            waiting_for = "space"
        elif isinstance(error, HostError):
            waiting_for = "host"
        self._back_to_idle()
        self._show(waiting_for=waiting_for, error=str(error))
        log.warning("%s: %s is put off: %s", self.name, wanted.image, error)
        return self._retry_s()

    def _retry_s(self) -> float:
        bound = min(MAX_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self._failures, 16))
        return bound * (0.5 + 0.5 * self._tools.draw())

    def _back_to_idle(self) -> None:
        if self._record.at in PREPARING:
            self._put(msgspec.structs.replace(self._record, state=State.IDLE.value))

    def _release_others(self) -> None:
        """Bundles that neither what is live nor what was before needs; images go by themselves,
        when room is wanted."""
        self._folders.clean("live", {
            each.module.digest
            for each in (self._record.live, self._record.previous)
            if each is not None
        })  # fmt: skip

    def _check_of(self, generation: int) -> Callable[[], None]:
        return lambda: self._check_or_raise(generation)

    def _check_or_raise(self, generation: int) -> None:
        if self._is_over(generation):
            self._back_to_idle()
            raise _Superseded

    def _is_over(self, generation: int) -> bool:
        return self._stopping.is_set() or self._generation != generation

    def _check_stop(self) -> None:
        """In a switch only the end of the agent counts."""
        if self._stopping.is_set():
            raise _Superseded

    def _is_wanted_other(self, module: Module) -> bool:
        return self._wanted is not None and self._wanted != module

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _move(self, state: State) -> None:
        if self._record.at in COMMITTED and state in COMMITTED:
            return
        self._put(msgspec.structs.replace(
            self._record, state=move(self._record.at, state).value
        ))  # fmt: skip

    def _put(self, record: Record) -> None:
        self._tools.records.put(self.name, record)
        self._record = record
        self._tools.on_change()

    def _show(
        self,
        *,
        waiting_for: str | None = None,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
        error: str | None = None,
    ) -> None:
        new = _Progress(waiting_for, done_bytes, total_bytes, error)
        if new != self._progress:
            self._progress = new
            self._tools.on_change()


def _is_same_instance(old: Module, new: Module) -> bool:
    """Whether only how it is looked after, or called, differs."""
    neutral = {"restart": new.restart, "probe": new.probe, "update": new.update, "order": new.order}
    return msgspec.structs.replace(old, **neutral, image=new.image) == new


def _trouble(view: LiveView, restarts_before: int) -> str | None:
    """What brings the old version back; None: nothing. Pure."""
    if view.restarts > restarts_before:
        if view.is_out_of_memory:
            return "it was killed: out of memory"
        return f"it ended with exit code {view.exit_code}; {view.error or ''}".rstrip("; ")
    if view.health in ("unhealthy", "stopped"):
        return f"it is {view.health}: {view.error or 'no answer'}"
    return None
