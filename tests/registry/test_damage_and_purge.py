"""Damaged blobs are said to be damaged, mended by registering again; purge frees just the rest."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from registry import DamagedBlobError, Workspace
from registry.blobs import BlobStore
from registry.errors import RegistryError, WorkspaceDamagedError
from registry.paths import WorkspacePaths
from registry.publishing import publishing
from tests.registry.store_check import assert_clean, blob_path, blobs, contents, downloaded


def _file(tmp_path: Path, data: bytes = b"weights") -> Path:
    path = tmp_path / "m.bin"
    path.write_bytes(data)
    return path


def _damage(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("data", [b"Weights", b"weight", b"weights!", b""])
def test_a_damaged_file_is_named_and_never_served(
    workspace: Workspace, tmp_path: Path, data: bytes
) -> None:
    model = workspace.models.register(_file(tmp_path), name="m")
    _damage(blob_path(workspace, model.files[0].digest), data)
    with pytest.raises(DamagedBlobError) as caught:
        workspace.models.download("m", tmp_path / "out")
    assert caught.value.digest == model.files[0].digest
    assert contents(tmp_path / "out") == {}


def test_a_download_with_one_damaged_file_writes_none(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text(name)
    model = workspace.models.register(folder, name="m")
    blob_path(workspace, model.files[2].digest).unlink()
    with pytest.raises(DamagedBlobError, match="missing"):
        workspace.models.download("m", tmp_path / "out")
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("data", [b"Weights", b"short"])
def test_registering_again_mends_a_damaged_file(
    workspace: Workspace, tmp_path: Path, data: bytes
) -> None:
    model = workspace.models.register(_file(tmp_path), name="m")
    _damage(blob_path(workspace, model.files[0].digest), data)
    workspace.models.register(tmp_path / "m.bin", name="m")
    assert downloaded(workspace, "m:1") == {"m.bin": b"weights"}
    assert_clean(workspace)


def test_a_damaged_layer_is_written_again_for_the_next_image(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = tmp_path / "score.py"
    script.write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(_file(tmp_path), name="m")
    workspace.images.create("i", models=["m"], script=script)
    largest = max(blobs(workspace), key=lambda d: blob_path(workspace, d).stat().st_size)
    for digest in blobs(workspace):
        if (
            blob_path(workspace, digest).stat().st_size
            == blob_path(workspace, largest).stat().st_size
        ):
            data = blob_path(workspace, digest).read_bytes()
            if b"weights" in data:
                _damage(blob_path(workspace, digest), data.replace(b"weights", b"Weights"))
    with pytest.raises(DamagedBlobError):
        workspace.images.unpack("i:1", tmp_path / "one")
    assert not (tmp_path / "one").exists()
    workspace.images.create("i", models=["m"], script=script)
    for version in (1, 2):
        unpacked = workspace.images.unpack(f"i:{version}", tmp_path / str(version))
        assert (unpacked / "models/m/1/m.bin").read_bytes() == b"weights"


def test_purge_frees_what_a_deleted_model_had_and_says_how_much(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.models.register(_file(tmp_path, b"one"), name="m")
    workspace.models.register(_file(tmp_path, b"two"), name="m")
    workspace.models.delete("m:1")
    before = blobs(workspace)
    wanted = workspace.purge(dry_run=True)
    assert blobs(workspace) == before
    assert workspace.purge() == wanted
    assert (wanted.blobs, wanted.size_bytes > 3) == (2, True)
    assert (workspace.purge().blobs, workspace.purge().size_bytes) == (0, 0)
    assert downloaded(workspace, "m:2") == {"m.bin": b"two"}
    assert_clean(workspace)


def test_purge_leaves_what_an_operation_under_way_has_published(workspace: Workspace) -> None:
    paths = WorkspacePaths(workspace.root)
    with publishing(paths, workspace._database, BlobStore(paths)) as store:
        digest, _ = store.put([b"not recorded yet"])
        assert workspace.purge().blobs == 0
        assert store.has(digest)
    assert workspace.purge().blobs == 1


def test_purge_leaves_what_an_operation_under_way_has_renewed(workspace: Workspace) -> None:
    """A base layer, say, that was there before the operation began and that no record names."""
    paths = WorkspacePaths(workspace.root)
    digest, _ = BlobStore(paths).put([b"a base layer"])
    os.utime(blob_path(workspace, digest), (1, 1))
    with publishing(paths, workspace._database, BlobStore(paths)) as store:
        assert store.renew(digest)
        assert workspace.purge().blobs == 0
    assert workspace.purge().blobs == 1


def test_a_dry_run_counts_what_a_purge_frees(workspace: Workspace, tmp_path: Path) -> None:
    workspace.models.register(_file(tmp_path), name="m")
    workspace.models.delete("m:1")
    with workspace._database.write() as connection:
        for number, expires_at in ((1, 0.0), (2, 1e12)):
            digest, size = BlobStore(WorkspacePaths(workspace.root)).put([b"x" * number])
            row = ("a", digest, size, None, expires_at)
            connection.execute("INSERT INTO held_blobs VALUES (?, ?, ?, ?, ?)", row)
    wanted = workspace.purge(dry_run=True)
    assert wanted == workspace.purge(dry_run=True)
    assert workspace.purge() == wanted
    assert wanted.blobs == 4  # the model's three and the one whose time is over
    assert len(blobs(workspace)) == 1


def test_a_failed_operation_takes_back_its_own_blobs_only(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.models.register(_file(tmp_path, b"shared"), name="m")
    before = blobs(workspace)
    paths = WorkspacePaths(workspace.root)

    def fail() -> None:
        with publishing(paths, workspace._database, BlobStore(paths)) as store:
            store.put([b"shared"])
            store.put([b"mine"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert blobs(workspace) == before
    assert_clean(workspace)


def test_no_lease_begins_while_purge_sweeps(workspace: Workspace) -> None:
    """An operation that began in the middle of a sweep would lose what it publishes."""
    paths = WorkspacePaths(workspace.root)
    begun = threading.Event()

    def operate() -> None:
        with publishing(paths, workspace._database, BlobStore(paths)):
            begun.set()

    thread = threading.Thread(target=operate)
    with BlobStore(paths).still():
        thread.start()
        assert not begun.wait(0.2)
        assert list(paths.leases.iterdir()) == []
    assert begun.wait(60)
    thread.join()


def test_a_blob_that_went_before_it_was_recorded_stops_the_registration(
    workspace: Workspace, tmp_path: Path
) -> None:
    """As a purge does when the clock was set back."""
    path = _file(tmp_path)

    def lose_all(done: int, total: int) -> None:
        for upload in (workspace.root / "store/uploads").iterdir():
            upload.unlink()

    with pytest.raises(WorkspaceDamagedError, match="try again"):
        workspace.models.register(path, name="m", on_progress=lose_all)
    assert workspace.models.list() == []
    assert workspace.models.register(path, name="m").version == 1


def test_a_target_that_cannot_be_written_is_a_registry_error(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.models.register(_file(tmp_path), name="m")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RegistryError, match="cannot write"):
        workspace.models.download("m", tmp_path / "file/below")
    with pytest.raises(RegistryError, match="there already"):
        workspace.models.download("m", tmp_path)
    assert (tmp_path / "m.bin").read_bytes() == b"weights"
    (tmp_path / "m.bin").write_bytes(b"other")
    workspace.models.download("m", tmp_path, force=True)
    assert (tmp_path / "m.bin").read_bytes() == b"weights"
