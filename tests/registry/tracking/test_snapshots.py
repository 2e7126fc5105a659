"""Snapshots: which files of a folder, kept once each, given back as they were."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import InvalidNameError, InvalidSourceError, NotFoundError, TargetExistsError
from registry.tracking import RunRecord
from registry.tracking.snapshot_folder import SnapshotLimits, read_folder
from registry.tracking.snapshots import Submission
from registry.tree import SourceFile


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "workspace", base="none")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def paths(folder: Path, *ignore: str) -> list[str]:
    return [file.path for file in read_folder(folder, ignore=ignore).files]


def kept(workspace: Workspace, folder: Path) -> tuple[RunRecord, Submission]:
    run = workspace.tracking.runs.create("e")
    files = {file.path: file for file in read_folder(folder).files}
    return run, workspace.tracking.snapshots.keep(run.id, files, config="{}")


def test_ignore_files_rules_and_outputs_leave_out_what_they_name(folder: Path) -> None:
    write(folder, {"a.py": "", "data/x": "", "data/y": "", "outputs/m": "", "b/outputs/n": ""})
    write(folder, {".amlignore": "data/x\n", ".gitignore": "a.py\n", ".env": "KEY=1"})
    write(folder, {".git/config": "", "c.ckpt": "", "__pycache__/a.pyc": "", "id_rsa": "k"})
    found = read_folder(folder, ignore=["*.ckpt"])
    assert [file.path for file in found.files] == [
        ".amlignore",
        ".gitignore",
        "a.py",
        "b/outputs/n",
        "data/y",
    ]
    said = " ".join(found.notes)
    assert "snapshot.ignore" in said
    assert ".amlignore" in said
    assert "outputs/" in said
    assert ".env" in said


def test_too_many_bytes_name_the_largest_files(folder: Path) -> None:
    write(folder, {"a.py": "x", "big.csv": "x" * 3000, "data/bigger.bin": "x" * 9000})
    with pytest.raises(InvalidSourceError) as refused:
        read_folder(folder, limits=SnapshotLimits(size_bytes=5000))
    said = str(refused.value)
    assert said.index("data/bigger.bin") < said.index("big.csv")
    assert "snapshot.max_mb" in said


def test_too_many_files_name_the_fullest_folders(folder: Path) -> None:
    write(folder, {f"images/{i}.txt": "" for i in range(30)} | {"a.py": "", "b/c.py": ""})
    with pytest.raises(InvalidSourceError, match=r"32 files.*images/ \(30 files\).*inferryignore"):
        read_folder(folder, limits=SnapshotLimits(files=20))


def test_links_pipes_and_odd_names_are_refused_by_name(folder: Path) -> None:
    write(folder, {"a.py": ""})
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidSourceError, match="'link' is a symbolic link"):
        paths(folder)
    assert paths(folder, "link") == ["a.py"]
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidSourceError, match="'pipe' is a named pipe"):
        paths(folder, "link")
    (folder / "line\nbreak").write_text("")
    with pytest.raises(InvalidSourceError, match="control character"):
        paths(folder, "link", "pipe")
    (folder / "line\nbreak").unlink()
    (folder / "NUL.txt").write_text("")
    with pytest.raises(InvalidNameError, match="reserved"):
        paths(folder, "link", "pipe")


def test_a_private_key_under_any_name_is_refused(folder: Path) -> None:
    write(folder, {"a.py": "", "mine.txt": "-----BEGIN OPENSSH PRIVATE KEY-----\nx"})
    with pytest.raises(InvalidSourceError, match=r"mine.txt.*private key"):
        paths(folder)


def test_what_was_kept_comes_back_with_its_modes(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    write(folder, {"a.py": "print(1)", "sub/é b.txt": "text", "run.sh": "#!/bin/sh\n"})
    (folder / "run.sh").chmod(0o755)
    run, submission = kept(workspace, folder)
    assert submission.snapshot.size_bytes == 22
    workspace.tracking.snapshots.download(run.id, tmp_path / "back")
    assert (tmp_path / "back/sub/é b.txt").read_text() == "text"
    assert os.access(tmp_path / "back/run.sh", os.X_OK)
    assert not os.access(tmp_path / "back/a.py", os.X_OK)
    with pytest.raises(TargetExistsError):
        workspace.tracking.snapshots.download(run.id, tmp_path / "back")


def test_the_zip_is_the_same_each_time_and_stock_unzip_reads_it(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    write(folder, {"b.py": "2", "a/ü.py": "1" * 5000})
    _, first = kept(workspace, folder)
    (folder / "b.py").touch()
    _, second = kept(workspace, folder)
    zips = [io.BytesIO(), io.BytesIO()]
    for each, submission in zip(zips, (first, second), strict=True):
        workspace.tracking.snapshots.write_zip(submission.snapshot, each)
    assert zips[0].getvalue() == zips[1].getvalue()
    with zipfile.ZipFile(zips[0]) as archive:
        assert archive.testzip() is None
        assert archive.read("a/ü.py") == b"1" * 5000
    path = tmp_path / "s.zip"
    path.write_bytes(zips[0].getvalue())
    subprocess.run(
        ["python3", "-m", "zipfile", "-e", str(path), str(tmp_path / "out")], check=True, timeout=60
    )
    assert (tmp_path / "out/b.py").read_text() == "2"


def test_equal_folders_are_one_snapshot_and_equal_files_one_blob(
    workspace: Workspace, folder: Path
) -> None:
    write(folder, {"a.py": "same", "b.py": "same"})
    _, first = kept(workspace, folder)
    _, second = kept(workspace, folder)
    assert first.snapshot == second.snapshot
    write(folder, {"b.py": "other"})
    _, third = kept(workspace, folder)
    assert third.snapshot.digest != first.snapshot.digest
    blobs = list((workspace.root / "store/blobs/sha256").iterdir())
    assert len(blobs) == 2


def test_a_file_that_changes_meanwhile_is_refused_and_nothing_kept(
    workspace: Workspace, folder: Path
) -> None:
    write(folder, {"a.py": "x" * 10, "z.py": "x" * 10})
    files = {file.path: file for file in read_folder(folder).files}
    run = workspace.tracking.runs.create("e")

    def change(done: int, total: int) -> None:
        if done == 20:
            (folder / "a.py").write_text("y" * 10)
            os.utime(folder / "a.py", ns=(1, 1))

    with pytest.raises(InvalidSourceError, match=r"'a.py' changed while"):
        workspace.tracking.snapshots.keep(run.id, files, config="{}", on_progress=change)
    with pytest.raises(NotFoundError, match="was not submitted"):
        workspace.tracking.snapshots.of_run(run.id)
    assert not list((workspace.root / "store/blobs/sha256").iterdir())


def test_a_file_that_became_a_link_meanwhile_leads_nowhere(
    workspace: Workspace, folder: Path
) -> None:
    write(folder, {"a.py": "x"})
    files = {file.path: file for file in read_folder(folder).files}
    (folder / "a.py").unlink()
    (folder / "a.py").symlink_to("/etc/passwd")
    run = workspace.tracking.runs.create("e")
    with pytest.raises(InvalidSourceError):
        workspace.tracking.snapshots.keep(run.id, files, config="{}")


def test_purge_frees_a_snapshot_with_its_last_run(workspace: Workspace, folder: Path) -> None:
    write(folder, {"a.py": "x"})
    first, submission = kept(workspace, folder)
    second, _ = kept(workspace, folder)
    blob = workspace.root / "store/blobs/sha256" / submission.snapshot.files[0].digest[7:]
    workspace.tracking.runs.remove(first.id)
    workspace.purge()
    assert blob.exists()
    workspace.tracking.runs.remove(second.id)
    workspace.purge()
    assert not blob.exists()
    workspace.purge()
    with workspace._database.read() as connection:
        assert connection.execute("SELECT count(*) FROM snapshot_files").fetchone()[0] == 0


def test_inputs_are_kept_by_name(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    write(folder, {"a.py": "x"})
    write(tmp_path, {"data/d.csv": "1,2"})
    run = workspace.tracking.runs.create("e")
    files = {file.path: file for file in read_folder(folder).files}
    inputs: dict[str, dict[str, SourceFile]] = {
        "data": {"d.csv": SourceFile("data/d.csv", tmp_path, 3)},
        "none": {},
    }
    workspace.tracking.snapshots.keep(run.id, files, config="{}", inputs=inputs)
    found = workspace.tracking.snapshots.of_run(run.reference)
    assert [file.path for file in found.inputs["data"].files] == ["d.csv"]
    assert found.inputs["none"].files == ()
