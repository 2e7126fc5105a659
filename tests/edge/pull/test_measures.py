"""The studies of the pull (T4, T6) in small."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.edge import disk, pull
from benchmarks.edge.releases import Releases


@pytest.mark.slow
def test_a_link_that_is_cut_and_a_puller_that_is_killed_cost_almost_nothing(
    tmp_path: Path,
) -> None:
    size = 8_000_000
    link = pull.Link(bytes_per_s=4e6, cut_each_s=0.3)
    with Releases(tmp_path) as releases:
        release = releases.push("big", 1, size)
        taken = pull.take_ours(releases, release, link, tmp_path / "state")
    assert taken.is_done
    assert taken.cuts >= 5
    assert taken.kills >= 1
    # Of so small an image what each cut and start costs is a larger share than of a real one.
    lost = taken.bytes_taken - release.size_bytes
    assert lost <= taken.cuts * 4096 + taken.kills * 200_000 + taken.starts * 20_000


@pytest.mark.slow
@pytest.mark.root
def test_releases_on_a_full_disk_come_and_leave_its_reserve(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    plan = disk.Plan(disk=200_000_000, release=10_000_000, reserve=6_000_000, releases=2)
    findings = disk.measure(tmp_path, plan)
    assert [finding.what for finding in findings if not finding.reached] == []
