"""A disk that fills up during registration: a tmpfs of 8 MB is the workspace's disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import StoreFullError
from tests.registry.store_check import assert_clean, assert_no_leftovers, blobs, downloaded

MIB = 1024 * 1024

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def _file(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size))
    return path


def _free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def test_a_model_that_does_not_fit_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    workspace = Workspace.init(small_disk / "ws", base="none")
    folder = tmp_path / "big"
    folder.mkdir()
    _file(folder / "a-fits.bin", 2 * MIB)
    _file(folder / "b-does-not.bin", 20 * MIB)
    free = _free(small_disk)
    with pytest.raises(StoreFullError, match="no space is left") as caught:
        workspace.models.register(folder, name="big")
    assert "\n" not in str(caught.value)
    assert workspace.models.list() == []
    assert blobs(workspace) == set()
    assert_no_leftovers(workspace)
    assert _free(small_disk) > free - MIB // 2
    model = workspace.models.register(_file(tmp_path / "small.bin", 1000), name="big")
    assert model.reference == "big:1"
    assert downloaded(workspace, "big")["small.bin"] == (tmp_path / "small.bin").read_bytes()
    assert_clean(workspace)


@pytest.mark.slow
def test_a_disk_that_is_full_to_any_level_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    """With 0 to 600 kB left the failure comes from the upload, the database or its journal."""
    workspace = Workspace.init(small_disk / "ws", base="none")
    script = tmp_path / "score.py"
    script.write_text("def init(): ...\ndef run(data): return data\n")
    kept = _file(tmp_path / "kept.bin", 50_000)
    workspace.models.register(kept, name="kept")
    refused = made = 0
    ballast = small_disk / "ballast"
    for left in range(0, 600 * 1024, 12 * 1024):
        ballast.write_bytes(bytes(max(0, _free(small_disk) - left)))
        for _ in range(3):
            try:
                workspace.models.register(_file(tmp_path / "m.bin", 10_000), name="m")
                workspace.images.create("i", models=["m"], script=script)
                made += 1
            except StoreFullError:  # any other error fails the test
                refused += 1
        ballast.unlink()
        for model in workspace.models.list():
            files = downloaded(workspace, model.reference)
            assert sum(map(len, files.values())) == model.size_bytes
        for image in workspace.images.list():
            if image.state == "succeeded":
                workspace.images.unpack(image.reference, tmp_path / f"out-{left}-{image.version}")
            workspace.images.delete(image.reference)
        for model in workspace.models.list(name="m"):
            workspace.models.delete(model.reference)
        workspace.purge()
        assert_clean(workspace)
    assert refused > 10
    assert made > 10
    assert downloaded(workspace, "kept")["kept.bin"] == kept.read_bytes()


def test_a_full_disk_can_be_freed_with_delete_and_purge(small_disk: Path, tmp_path: Path) -> None:
    workspace = Workspace.init(small_disk / "ws", base="none")
    workspace.models.register(_file(tmp_path / "m.bin", 4 * MIB), name="m")
    with pytest.raises(StoreFullError):
        workspace.models.register(_file(tmp_path / "m.bin", 5 * MIB), name="m")
    workspace.models.delete("m:1")
    assert workspace.purge().size_bytes >= 4 * MIB
    assert workspace.models.register(tmp_path / "m.bin", name="m").size_bytes == 5 * MIB


def test_an_image_that_does_not_fit_is_recorded_as_failed(small_disk: Path, tmp_path: Path) -> None:
    workspace = Workspace.init(small_disk / "ws", base="none")
    script = tmp_path / "score.py"
    script.write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(_file(tmp_path / "m.bin", 5 * MIB), name="m")
    with pytest.raises(StoreFullError):
        workspace.images.create("i", models=["m"], script=script)
    image = workspace.images.get("i")
    assert (image.state, image.digest) == ("failed", None)
    assert "no space is left" in str(image.cause)
    assert_clean(workspace)


def test_init_on_a_full_disk_says_so_and_works_later(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(_free(small_disk)))
    with pytest.raises(StoreFullError):
        Workspace.init(small_disk / "ws", base="none")
    ballast.unlink()
    assert Workspace.init(small_disk / "ws", base="none").models.list() == []
