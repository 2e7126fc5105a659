"""Limits by cgroup v2, in a folder that looks like its tree: no tree of a test machine is ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.hosts.cgroup import Cgroups, find_cgroups, settings
from edge.hosts.port import InstanceId
from edge.hosts.processes import ProcessHost
from edge.messages.desired import Limits
from tests.edge.hosts.conformance import ask, begin, wait_answering, wait_ended
from tests.edge.hosts.test_processes import ProcessPlace

MIB = 2**20


def test_limits_are_what_the_kernel_reads() -> None:
    assert settings(Limits(memory_bytes=64 * MIB, cpus=0.5, processes=10)) == {
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "10",
        "cpu.max": "50000 100000",
    }
    found = settings(Limits(processes=None))
    assert [found[name] for name in ("memory.max", "pids.max", "cpu.max")] == [
        "max",
        "max",
        "max 100000",
    ]


@pytest.mark.parametrize("controllers", [None, "", "cpu io memory"])
def test_a_tree_without_what_is_needed_is_not_used(tmp_path: Path, controllers: str | None) -> None:
    if controllers is not None:
        (tmp_path / "cgroup.controllers").write_text(controllers)
    assert find_cgroups(tmp_path) is None


def test_a_whole_tree_is_used(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids")
    found = find_cgroups(tmp_path)
    assert found == Cgroups(tmp_path / "inferry-edge")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_an_instance_enters_its_group_and_the_groups_end_is_its_own(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    place = ProcessPlace(tmp_path)
    place.host = ProcessHost(tmp_path / "processes", place.stock, cgroups=Cgroups(tree))
    try:
        begin(place, place.image(), limits=Limits(memory_bytes=64 * MIB))
        port = wait_answering(place, place.id()).port
        (group,) = tree.glob("digits.live-*")
        assert (group / "cgroup.procs").read_text() == "0"
        assert (group / "memory.max").read_text() == str(64 * MIB)
        (group / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
        ask(port, "end?137")
        seen = wait_ended(place, InstanceId("digits", "live"))
        assert (seen.exit_code, seen.is_out_of_memory) == (137, True)
        assert (group / "cgroup.kill").read_text() == "1"
    finally:
        place.host.stop(place.id(), grace_s=0)


def test_two_agents_of_one_machine_do_not_meet_in_a_group(tmp_path: Path) -> None:
    """Else the end of one's module would kill the other's, by cgroup.kill."""
    places = []
    for name in ("a", "b"):
        place = ProcessPlace(tmp_path / name)
        place.host = ProcessHost(place.root / "processes", place.stock, cgroups=Cgroups(tmp_path))
        places.append(place)
    try:
        for place in places:
            begin(place, place.image())
        assert len(list(tmp_path.glob("digits.live*"))) == 2
    finally:
        for place in places:
            place.host.stop(place.id(), grace_s=0)
