"""The modules of a device: one unit for each that shall be there, none for others.

    modules = ModuleSet(make_unit)
    crew.add("modules", modules.work)
    modules.apply(desired)             # returns at once
    modules.reports()

A unit keeps and updates one module with threads of its own, so that a stuck one stops no other.
This file decides which units there are, and in what order they may start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from edge.errors import EdgeError, NotFoundError
from edge.messages.desired import Desired, Module
from edge.messages.reported import ModuleReport

log = logging.getLogger(__name__)
RETRY_S = 5.0
HALT_S = 20.0


class Unit(Protocol):
    """One module, kept and updated."""

    def want(self, module: Module) -> None:
        """What it shall be from now on. Returns at once; supersedes what is under way."""
        ...

    def report(self) -> ModuleReport:
        """As it is. Quick."""
        ...

    def digests(self) -> set[str]:
        """Images that must stay: what answers, what did before, what shall."""
        ...

    def restart(self) -> None:
        """Of the live instance, now. Raises EdgeError."""
        ...

    def logs(self, lines: int) -> str:
        """The last lines of the live instance. Raises EdgeError."""
        ...

    def remove(self) -> None:
        """Stop its instances and forget it. May take a while; may be tried again. Raises
        EdgeError."""
        ...

    def stop(self) -> None:
        """End its threads; what runs goes on."""
        ...

    def halt(self) -> None:
        """End its threads and what runs; the next start begins it again."""
        ...


MayStart = Callable[[], bool]
MakeUnit = Callable[[str, MayStart], Unit]
"""A unit for the module of this name, which may start its first instance when it is its turn."""


def may_start(module: Module, all_modules: Sequence[Module], is_healthy: dict[str, bool]) -> bool:
    """Whether those of a lower order are healthy. Pure."""
    return all(
        is_healthy.get(other.name, False) for other in all_modules if other.order < module.order
    )


class ModuleSet:
    """Any thread may call it."""

    def __init__(
        self,
        make: MakeUnit,
        *,
        on_change: Callable[[], None] = lambda: None,
        kept: Callable[[], set[str]] = set,
        retry_s: float = RETRY_S,
    ) -> None:
        """``kept``: modules of which something is on this device, from an earlier agent too."""
        self._make = make
        self._kept = kept
        self._on_change = on_change
        self._retry_s = retry_s
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._desired: Desired | None = None
        self._units: dict[str, Unit] = {}
        self._leaving: dict[str, Unit] = {}
        self._stopping = threading.Event()
        self._leavers: list[threading.Thread] = []
        self._troubles: dict[str, str] = {}
        """Why modules have no unit yet."""
        self._are_left_sought = True

    def apply(self, desired: Desired) -> None:
        """What shall run from now on."""
        with self._lock:
            self._desired = desired
        self._wake.set()

    def work(self, stopping: threading.Event) -> None:
        """Until the end."""
        while not stopping.is_set():
            is_woken = self._wake.wait(self._retry_s)
            self._wake.clear()
            if is_woken or self._troubles:
                try:
                    self.step()
                except BaseException:
                    self._wake.set()  # whoever comes after us does it
                    raise

    def step(self) -> None:
        """Make, change and let go of units until they are as they shall be."""
        with self._lock:
            if self._desired is None or self._stopping.is_set():
                return
            wanted = {module.name: module for module in self._desired.modules}
            self._find_left(wanted)
            for name in [name for name in self._units if name not in wanted]:
                self._let_go(name)
            self._troubles = {}
            for name, module in wanted.items():
                if name in self._leaving:
                    continue  # its thread wakes us when it is gone
                unit = self._units.get(name) or self._begin(name)
                if unit is not None:
                    unit.want(module)
        self._on_change()

    def reports(self) -> list[ModuleReport]:
        """Of all, also of those that are on their way out, by name."""
        with self._lock:
            units = {**self._leaving, **self._units}
            pending = [m for m in (self._desired.modules if self._desired else ())]
            troubles = dict(self._troubles)
        found = {name: unit.report() for name, unit in units.items()}
        for module in pending:
            if module.name not in found:
                found[module.name] = ModuleReport(
                    module.name, None, None, module.digest, "waiting", "stopped",
                    error=troubles.get(module.name),
                )  # fmt: skip
        return [report for _, report in sorted(found.items())]

    def digests(self) -> set[str]:
        """Images that must stay."""
        with self._lock:
            units = [*self._leaving.values(), *self._units.values()]
            found = {module.digest for module in (self._desired.modules if self._desired else ())}
        return found.union(*(unit.digests() for unit in units))

    def unit(self, name: str) -> Unit:
        """Raises NotFoundError."""
        with self._lock:
            found = self._units.get(name)
            names = ", ".join(sorted(self._units)) or "none"
        if found is None:
            raise NotFoundError(f"no module {ascii(name)[:64]} is here; there are: {names}")
        return found

    def names(self) -> set[str]:
        """Of all that have a unit, and of those that shall have one."""
        with self._lock:
            wanted = {module.name for module in (self._desired.modules if self._desired else ())}
            return wanted | set(self._units) | set(self._leaving)

    def stop(self, deadline_s: float, *, is_halting: bool = False) -> None:
        """End all units at the same time, and wait so long (monotonic time); their modules run on,
        unless ``is_halting``, which may take longer."""
        self._stopping.set()
        self._wake.set()
        with self._lock:
            units = [*self._units.values(), *self._leaving.values()]
        threads = [
            threading.Thread(target=self._end, args=(unit, is_halting), daemon=True)
            for unit in units
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline_s + HALT_S * is_halting - time.monotonic()))

    def _end(self, unit: Unit, is_halting: bool) -> None:
        try:
            if is_halting:
                unit.halt()
            else:
                unit.stop()
        except EdgeError as error:
            log.warning("a module did not end: %s", error)

    def _turn_of(self, name: str) -> MayStart:
        def is_its_turn() -> bool:
            with self._lock:
                modules = self._desired.modules if self._desired is not None else ()
                units = dict(self._units)
            module = next((module for module in modules if module.name == name), None)
            if module is None:
                return False
            before = [other.name for other in modules if other.order < module.order]
            healthy = {
                other: other in units and units[other].report().health == "healthy"
                for other in before
            }
            return may_start(module, modules, healthy)

        return is_its_turn

    def _begin(self, name: str) -> Unit | None:
        """None: not now, as the device lacks something; it is tried again."""
        try:
            unit = self._units[name] = self._make(name, self._turn_of(name))
        except Exception as error:
            if not isinstance(error, EdgeError | OSError):
                log.exception("module %s cannot be begun yet", name)
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._troubles[name] = f"it cannot be begun yet: {said}"[:500]
            return None
        return unit

    def _find_left(self, wanted: Collection[str]) -> None:
        """What an agent that was killed was just removing, or forgot, gets a unit, to be let go."""
        if self._are_left_sought:
            known = {*wanted, *self._units, *self._leaving}
            try:
                left = self._kept() - known
            except (EdgeError, OSError) as error:
                log.warning("what is left of modules cannot be found: %s", error)
                return
            begun = [self._begin(name) for name in sorted(left)]
            self._are_left_sought = None in begun

    def _let_go(self, name: str) -> None:
        unit = self._leaving[name] = self._units.pop(name)
        thread = threading.Thread(
            target=self._remove, args=(name, unit), name=f"remove {name}", daemon=True
        )
        self._leavers = [one for one in self._leavers if one.is_alive()]
        self._leavers.append(thread)
        thread.start()

    def _remove(self, name: str, unit: Unit) -> None:
        while not self._stopping.is_set():
            try:
                unit.remove()
                unit.stop()
            except EdgeError as error:
                log.warning("module %s is not removed yet: %s", name, error)
                self._stopping.wait(self._retry_s)
                continue
            except Exception:
                log.exception("module %s is not removed yet", name)
                self._stopping.wait(self._retry_s)
                continue
            log.info("module %s was removed", name)
            break
        with self._lock:
            self._leaving.pop(name, None)
        self._wake.set()
        self._on_change()
