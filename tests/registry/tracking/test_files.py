"""Files of runs: kept whole, named safely, found again, freed when nothing uses them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import (
    DamagedBlobError,
    InvalidNameError,
    InvalidSourceError,
    NotFoundError,
    TargetExistsError,
)
from registry.tracking import Limits, RunFiles, RunRecord, Tracking
from tests.registry.store_check import assert_no_leftovers, blobs
from tests.registry.tracking.test_words import HOSTILE_PATHS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files."""
    made = tmp_path / "outputs"
    (made / "sub").mkdir(parents=True)
    (made / "a.txt").write_text("a")
    (made / "sub" / "b.bin").write_bytes(bytes(3_000_000))
    (made / "sub" / "empty").touch()
    return made


def limited(tracking: Tracking, limits: Limits) -> RunFiles:
    """With limits of its own."""
    given = tracking.files
    return RunFiles(given._paths, given._database, given._store, given._now_ms, limits)


def test_a_folder_comes_back_bit_for_bit(
    tracking: Tracking, run: RunRecord, folder: Path, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    tracking.files.upload(run.id, folder, "outputs", lambda done, total: seen.append((done, total)))
    assert [f.path for f in tracking.files.list(run.id)] == [
        "outputs/a.txt",
        "outputs/sub/b.bin",
        "outputs/sub/empty",
    ]
    assert seen[-1] == (3_000_001, 3_000_001)
    tracking.files.download(run.id, tmp_path / "out")
    for path in ("a.txt", "sub/b.bin", "sub/empty"):
        assert (tmp_path / "out/outputs" / path).read_bytes() == (folder / path).read_bytes()
    assert [f.path for f in tracking.files.list(run.id, "outputs/sub/")] == [
        "outputs/sub/b.bin",
        "outputs/sub/empty",
    ]
    assert tracking.files.list(run.id, "out") == []
    assert tracking.files.read(run.id, "outputs/a.txt") == b"a"


def test_a_download_overwrites_only_by_force_and_says_what_is_missing(
    tracking: Tracking, run: RunRecord, folder: Path, tmp_path: Path
) -> None:
    tracking.files.upload(run.id, folder, "")
    tracking.files.download(run.id, tmp_path / "out", folder="a.txt")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.txt"]
    with pytest.raises(TargetExistsError):
        tracking.files.download(run.id, tmp_path / "out")
    tracking.files.download(run.id, tmp_path / "out", force=True)
    with pytest.raises(NotFoundError, match="no file 'nothing'"):
        tracking.files.download(run.id, tmp_path / "out", folder="nothing")
    with pytest.raises(NotFoundError):
        tracking.files.get(run.id, "sub")


def test_the_same_name_again_has_the_new_bytes(tracking: Tracking, run: RunRecord) -> None:
    for content in (b"one", b"two"):
        tracking.files.put(run.id, "x", [content])
    assert tracking.files.read(run.id, "x") == b"two"
    assert len(tracking.files.list(run.id)) == 1


def test_equal_bytes_are_stored_once_also_with_models(
    workspace: Workspace, tracking: Tracking, run: RunRecord, folder: Path
) -> None:
    tracking.files.upload(run.id, folder / "sub/b.bin", "x")
    tracking.files.upload(run.id, folder / "sub/b.bin", "y")
    before = blobs(workspace)
    assert len(before) == 1
    workspace.models.register(folder / "sub/b.bin", name="m")
    assert before < blobs(workspace)
    assert len({f.digest for f in workspace.models.get("m").files} - before) == 0


def test_purge_frees_what_no_run_names(
    workspace: Workspace, tracking: Tracking, run: RunRecord, folder: Path
) -> None:
    tracking.files.upload(run.id, folder, "")
    assert workspace.purge().blobs == 0
    tracking.files.remove(run.id, ["sub/b.bin", "not there"])
    assert workspace.purge().size_bytes >= 3_000_000
    assert tracking.files.read(run.id, "a.txt") == b"a"
    tracking.runs.delete(run.id)
    assert workspace.purge().blobs == 0
    tracking.runs.remove(run.id)
    workspace.purge()
    assert blobs(workspace) == set()


def test_a_hostile_name_is_refused_everywhere(
    workspace: Workspace, tracking: Tracking, run: RunRecord, folder: Path
) -> None:
    files = tracking.files
    for path in HOSTILE_PATHS:
        calls: list[Callable[[str], object]] = [
            lambda path: files.put(run.id, path, [b"x"]),
            lambda path: files.upload(run.id, folder / "a.txt", path),
            lambda path: files.get(run.id, path),
            lambda path: files.remove(run.id, [path]),
        ]
        if path.removesuffix("/") not in ("", "a"):  # fine as the name of a folder
            calls += [
                lambda path: files.list(run.id, path),
                lambda path: files.download(run.id, folder, folder=path),
                lambda path: files.upload(run.id, folder, path),
            ]
        for call in calls:
            with pytest.raises(InvalidNameError):
                call(path)
    assert files.list(run.id) == []
    assert_no_leftovers(workspace)


def test_a_name_cannot_be_file_and_folder(tracking: Tracking, run: RunRecord) -> None:
    tracking.files.put(run.id, "a/b", [b"x"])
    for path in ("a", "a/b/c"):
        with pytest.raises(InvalidNameError, match="already"):
            tracking.files.put(run.id, path, [b"x"])
    tracking.files.put(run.id, "a-b", [b"x"])
    tracking.files.put(run.id, "a.b", [b"x"])
    tracking.files.put(run.id, "a0", [b"x"])


def test_a_link_in_a_folder_is_refused(tracking: Tracking, run: RunRecord, folder: Path) -> None:
    (folder / "sub" / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidSourceError, match="symbolic link"):
        tracking.files.upload(run.id, folder, "x")
    assert tracking.files.list(run.id) == []


def test_limits_are_kept_and_leave_nothing(
    workspace: Workspace, tracking: Tracking, run: RunRecord, folder: Path
) -> None:
    with pytest.raises(InvalidSourceError, match="more than 1000 bytes"):
        limited(tracking, Limits(file_bytes=1000)).upload(run.id, folder, "")
    with pytest.raises(InvalidSourceError, match="more than 10 bytes"):
        limited(tracking, Limits(file_bytes=10)).put(run.id, "x", [b"12345"] * 3)
    with pytest.raises(InvalidSourceError, match="at most 2 files"):
        limited(tracking, Limits(files=2)).upload(run.id, folder, "")
    with pytest.raises(InvalidSourceError, match="at most 1000 bytes together"):
        limited(tracking, Limits(run_bytes=1000)).upload(run.id, folder, "")
    assert tracking.files.list(run.id) == []
    workspace.purge()
    assert blobs(workspace) == set()


def test_a_run_that_is_removed_during_an_upload_gets_no_file(
    workspace: Workspace, tracking: Tracking, run: RunRecord
) -> None:
    def chunks() -> list[bytes]:
        tracking.runs.remove(run.id)
        return [b"x"]

    with pytest.raises(NotFoundError):
        tracking.files.put(run.id, "x", (chunk for chunk in chunks()))
    assert blobs(workspace) == set()


def test_a_damaged_file_is_not_handed_out(
    workspace: Workspace, tracking: Tracking, run: RunRecord, tmp_path: Path
) -> None:
    file = tracking.files.put(run.id, "x", [b"content"])
    blob = workspace.root / "store/blobs/sha256" / file.digest.removeprefix("sha256:")
    os.chmod(blob, 0o644)
    blob.write_bytes(b"c0ntent")
    with pytest.raises(DamagedBlobError):
        tracking.files.download(run.id, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
