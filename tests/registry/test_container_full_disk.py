"""A disk that fills up while a container is made: a tmpfs is the workspace's disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.activities import Activity
from registry.errors import StoreFullError
from tests.registry.small_containers import Parts, assert_complete, make_parts
from tests.registry.store_check import assert_clean, assert_no_leftovers

MIB = 1024 * 1024
PHASES = ["Reading the base", "Resolving", "Downloading", "Packing", "Signing"]

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs"),
]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return make_parts(tmp_path_factory.mktemp("full") / "parts", random_bytes=300_000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def fill(disk: Path, left: int) -> Path:
    """Leaves just so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("ab") as file:
        file.write(bytes(max(0, free(disk) - left)))
    return ballast


def nothing_half(workspace: Workspace) -> None:
    """What there is of images is complete; after a purge the store holds nothing else."""
    assert list((workspace.root / "wheels").rglob("*.part")) == []
    workspace.purge()
    assert_clean(workspace)
    assert_no_leftovers(workspace)
    for activity in workspace.activities.list():
        assert not activity.is_running


@pytest.mark.parametrize("left", [0, 8192, 65536])
@pytest.mark.parametrize("phase", PHASES)
def test_a_disk_that_is_full_from_a_phase_on_leaves_nothing_half(
    parts: Parts, small_disk: Path, tmp_path: Path, phase: str, left: int
) -> None:
    workspace = parts.workspace(small_disk / "ws")
    ballast = small_disk / "ballast"

    def fill_up(activity: Activity) -> None:
        if activity.is_running and activity.phase == phase:
            fill(small_disk, left)

    said = None
    try:
        parts.create(workspace, on_change=fill_up)
    except StoreFullError as caught:  # any other error fails the test
        said = str(caught)
    assert (said is None) <= (phase == "Signing" or left > 8192)
    if said is not None:
        assert said.isprintable()
        [activity] = workspace.activities.list()
        assert (activity.state, activity.cause) == ("failed", said)
        assert [image.state for image in workspace.images.list()] in ([], ["failed"])
    assert ballast.exists()
    ballast.unlink()
    nothing_half(workspace)
    assert_complete(workspace, parts.create(workspace), tmp_path / "out")
    nothing_half(workspace)


def test_a_disk_that_is_full_to_any_level_loses_nothing(
    parts: Parts, small_disk: Path, tmp_path: Path
) -> None:
    """From no room at all to room for all of it; what an earlier try has put there is removed."""
    refused = made = 0
    for left in (*range(0, 100_000, 30_000), *range(100_000, 13_000_000, 2_000_000)):
        workspace = parts.workspace(small_disk / "ws")
        ballast = fill(small_disk, left)
        try:
            parts.create(workspace)
            made += 1
        except StoreFullError:
            refused += 1
        ballast.unlink()
        for image in workspace.images.list():
            if image.state == "succeeded":
                assert_complete(workspace, image, tmp_path / f"first-{left}")
        nothing_half(workspace)
        again = parts.create(workspace)
        assert_complete(workspace, again, tmp_path / f"again-{left}")
        shutil.rmtree(workspace.root)
    assert refused > 4
    assert made > 1


def test_an_activity_of_a_full_disk_is_refused_before_a_version_is_made_of_it(
    parts: Parts, small_disk: Path
) -> None:
    workspace = parts.workspace(small_disk / "ws")
    ballast = fill(small_disk, 0)
    with pytest.raises(StoreFullError):
        parts.create(workspace)
    ballast.unlink()
    assert [image.state for image in workspace.images.list()] in ([], ["failed"])
    assert parts.create(workspace).state == "succeeded"
    assert list((workspace.root / "activities").glob("*.lock")) == []
