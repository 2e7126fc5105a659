from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from edge.agent.modules import MayStart, ModuleSet, may_start
from edge.errors import HostError, NotFoundError
from edge.messages.desired import Desired, Module
from edge.messages.reported import Health, ModuleReport
from tests.edge.agent.test_commands import wait


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def module(name: str, number: int = 1, order: int = 0) -> Module:
    return Module(name, f"{name}:{number}", digest(number), order=order)


def desired(version: int, *modules: Module) -> Desired:
    return Desired(1, "a", version, modules)


class FakeUnit:
    """Remembers what it was told."""

    def __init__(self, name: str, may_start: MayStart) -> None:
        self.name = name
        self.may_start = may_start
        self.wanted: list[str] = []
        self.health: Health = "healthy"
        self.is_removed = False
        self.is_halted = False
        self.is_stopped = False
        self.failures = 0
        self.block: threading.Event | None = None

    def want(self, module: Module) -> None:
        self.wanted.append(module.digest)

    def report(self) -> ModuleReport:
        wanted = self.wanted[-1] if self.wanted else None
        return ModuleReport(self.name, self.name, wanted, wanted, "idle", self.health)

    def digests(self) -> set[str]:
        return set(self.wanted[-2:])

    def restart(self) -> None:
        """Nothing."""

    def logs(self, lines: int) -> str:
        return ""

    def remove(self) -> None:
        if self.block is not None:
            self.block.wait()
        if self.failures:
            self.failures -= 1
            raise HostError("the engine does not answer")
        self.is_removed = True

    def stop(self) -> None:
        self.is_stopped = True

    def halt(self) -> None:
        self.is_halted = True


class Yard:
    """A set and the units that it made."""

    def __init__(self) -> None:
        self.made: list[FakeUnit] = []
        self.left: set[str] = set()
        self.error: Exception | None = None
        self.modules = ModuleSet(self._make, kept=lambda: self.left, retry_s=0.01)

    def _make(self, name: str, may_start: MayStart) -> FakeUnit:
        if name == "a" and self.error is not None:
            raise self.error
        self.made.append(FakeUnit(name, may_start))
        return self.made[-1]

    def apply(self, desired: Desired) -> None:
        self.modules.apply(desired)
        self.modules.step()


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_each_module_has_a_unit_that_is_told_of_each_change(yard: Yard) -> None:
    yard.apply(desired(1, module("a"), module("b")))
    yard.apply(desired(2, module("a", 2), module("b")))
    assert [(unit.name, unit.wanted) for unit in yard.made] == [
        ("a", [digest(1), digest(2)]),
        ("b", [digest(1), digest(1)]),
    ]
    assert yard.modules.digests() == {digest(1), digest(2)}
    assert [report.name for report in yard.modules.reports()] == ["a", "b"]


def test_a_module_that_is_no_longer_wanted_is_removed(yard: Yard) -> None:
    yard.apply(desired(1, module("a"), module("b")))
    yard.apply(desired(2, module("a")))
    wait(lambda: yard.made[1].is_removed and yard.made[1].is_stopped)
    wait(lambda: yard.modules.names() == {"a"})
    assert not yard.made[0].is_removed
    with pytest.raises(NotFoundError, match="there are: a"):
        yard.modules.unit("b")


def test_a_removal_that_fails_is_tried_again(yard: Yard) -> None:
    yard.apply(desired(1, module("a")))
    yard.made[0].failures = 3
    yard.apply(desired(2))
    wait(lambda: yard.made[0].is_removed)


def test_a_removal_that_hangs_holds_up_no_other_module(yard: Yard) -> None:
    yard.apply(desired(1, module("a")))
    yard.made[0].block = threading.Event()
    yard.apply(desired(2, module("b")))
    assert yard.modules.unit("b") is yard.made[1]
    assert [report.name for report in yard.modules.reports()] == ["a", "b"]
    yard.made[0].block.set()
    wait(lambda: yard.modules.names() == {"b"})


def test_a_module_that_comes_back_waits_until_it_is_gone(yard: Yard) -> None:
    yard.apply(desired(1, module("a")))
    block = yard.made[0].block = threading.Event()
    yard.apply(desired(2))
    yard.apply(desired(3, module("a", 2)))
    assert len(yard.made) == 1
    block.set()
    wait(lambda: yard.made[0].is_removed)
    wait(lambda: _steps(yard, lambda: len(yard.made) == 2))
    assert yard.made[1].wanted == [digest(2)]


def _steps(yard: Yard, condition: Callable[[], bool]) -> bool:
    yard.modules.step()
    return condition()


def test_a_lower_order_is_healthy_first(yard: Yard) -> None:
    yard.apply(desired(1, module("z"), module("m", order=1), module("a", order=2)))
    by_name = {unit.name: unit for unit in yard.made}
    by_name["z"].health = "starting"
    assert by_name["z"].may_start()
    assert not by_name["m"].may_start()
    by_name["z"].health = "healthy"
    assert by_name["m"].may_start()
    by_name["m"].health = "unhealthy"
    assert not by_name["a"].may_start()


def test_order_is_decided_by_those_below_only() -> None:
    modules = [module("a", order=1), module("b", order=1), module("c")]
    assert may_start(modules[0], modules, {"c": True})
    assert not may_start(modules[0], modules, {})
    assert may_start(modules[2], modules, {})


def test_at_the_end_threads_end_and_modules_run_on(yard: Yard) -> None:
    yard.apply(desired(1, module("a"), module("b")))
    yard.modules.stop(time.monotonic() + 10)
    assert all(unit.is_stopped and not unit.is_removed for unit in yard.made)


def test_at_the_end_modules_are_halted_when_asked(yard: Yard) -> None:
    yard.apply(desired(1, module("a"), module("b")))
    yard.modules.stop(time.monotonic() + 10, is_halting=True)
    assert all(unit.is_halted and not unit.is_removed for unit in yard.made)


def test_it_works_by_itself(yard: Yard) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=yard.modules.work, args=(stopping,))
    thread.start()
    yard.modules.apply(desired(1, module("a")))
    wait(lambda: bool(yard.made) and bool(yard.made[0].wanted))
    stopping.set()
    yard.modules.stop(time.monotonic() + 10)
    thread.join(60)
    assert not thread.is_alive()


def test_what_has_no_unit_yet_is_reported_as_waiting(yard: Yard) -> None:
    yard.modules.apply(desired(1, module("a")))
    assert [report.phase for report in yard.modules.reports()] == ["waiting"]
    assert yard.modules.digests() == {digest(1)}


def test_a_module_that_cannot_be_begun_is_reported_tried_again_and_stops_no_other(
    yard: Yard,
) -> None:
    yard.error = OSError("no more threads")
    stopping = threading.Event()
    thread = threading.Thread(target=yard.modules.work, args=(stopping,))
    thread.start()
    try:
        yard.modules.apply(desired(1, module("a"), module("b")))
        wait(lambda: [unit.name for unit in yard.made] == ["b"])
        first = yard.modules.reports()[0]
        assert first.name == "a"
        assert "no more threads" in str(first.error)
        yard.error = None
        wait(lambda: [unit.name for unit in yard.made] == ["b", "a"])
        assert yard.modules.reports()[0].error is None
    finally:
        stopping.set()
        yard.modules.stop(time.monotonic() + 5)
        thread.join(60)


def test_what_a_killed_agent_did_not_remove_to_the_end_is_removed(yard: Yard) -> None:
    """Bundles of a module would be on the disk for ever."""
    yard.left = {"a", "gone"}
    yard.modules.step()
    assert yard.made == []  # nobody knows yet what is wanted
    yard.apply(desired(1, module("a")))
    wait(lambda: any(unit.name == "gone" and unit.is_removed for unit in yard.made))
    yard.left = {"a"}
    wait(lambda: yard.modules.names() == {"a"})
    assert [unit.is_removed for unit in yard.made if unit.name == "a"] == [False]
