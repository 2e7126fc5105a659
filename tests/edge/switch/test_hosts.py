"""A device with two hosts, of which one is ill: modules on the other do not notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.errors import HostError
from edge.hosts.memory import MemoryHost
from edge.hosts.port import InstanceId
from tests.edge.switch.device import GOOD, Device, digest

BEHAVIOURS = {number: GOOD for number in range(1, 5)}


@contextmanager
def of_processes(folder: Path) -> Iterator[tuple[Device, MemoryHost]]:
    """A device whose engine is away, and its modules processes."""
    with Device(folder, BEHAVIOURS) as device:
        device.unit.stop()
        other = MemoryHost({digest(n): b for n, b in BEHAVIOURS.items()}, kind="process")
        device.tools.hosts["process"] = other  # type: ignore[index]
        device.host.fail("dockerd is down")
        device.unit = device._unit()
        try:
            yield device, other
        finally:
            device.unit.stop()
            device.host.fail(None)
            other.close()


def test_an_engine_that_is_away_is_not_asked_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs takes half a minute for each answer."""
    with of_processes(tmp_path) as (device, _):
        asked: list[Any] = []
        real = device.host.list
        monkeypatch.setattr(device.host, "list", lambda: asked.append(1) or real())  # type: ignore[func-returns-value]
        device.settle(1, host="process")
        assert device.settle(2, host="process").image == "digits:2"
        assert len(asked) <= 4


def test_what_is_not_wanted_any_more_ends_on_the_host_that_is_well(tmp_path: Path) -> None:
    with of_processes(tmp_path) as (device, other):
        device.settle(1, host="process")
        with pytest.raises(HostError):
            device.unit.remove()
        assert InstanceId("digits", "live") not in other.instances
        device.host.fail(None)
        device.unit.remove()
        assert device.records.names() == set()


def test_which_hosts_were_used_is_known_after_a_restart(tmp_path: Path) -> None:
    with of_processes(tmp_path) as (device, _):
        assert device.records.hosts() == set()
        device.settle(1, host="process")
        assert device.records.hosts() == {"process"}
