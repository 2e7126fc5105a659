"""A backup that is damaged, cut off, of a newer Inferry or of a stranger restores nothing."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from registry import Workspace
from registry.backup import back_up, restore, verify
from registry.backup.record import DATABASE, SavedFile, Snapshot, decoded, encoded
from registry.database import MIGRATIONS
from registry.errors import BackupError, WorkspaceDamagedError
from tests.registry.old_databases import missing, write_old
from tests.registry.store_check import downloaded


@pytest.fixture
def small(tmp_path: Path) -> Workspace:
    """One model of one file."""
    workspace = Workspace.init(tmp_path / "ws", base="none")
    (tmp_path / "data.txt").write_bytes(b"x" * 5000)
    workspace.models.register(tmp_path / "data.txt", name="data")
    return workspace


def snapshot_file(backup: Path) -> Path:
    return max((backup / "snapshots").iterdir())


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_one_bit_anywhere_is_found_and_mended_by_the_next_backup(
    small: Workspace, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    back_up(small.root, backup, keep=1)
    digest = small.models.get("data").files[0].digest
    blob = backup / "blobs" / digest[7:]
    flip(blob, 2500)
    assert verify(backup).damaged == (f"{digest} is damaged in the backup",)
    with pytest.raises(BackupError, match=f"{digest} is damaged in the backup; .*--despite-damage"):
        restore(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    restored = restore(backup, tmp_path / "rest", despite_damage=True)
    assert restored.damaged == (digest,)
    assert Workspace.open(tmp_path / "rest").models.get("data").files[0].digest == digest
    back_up(small.root, backup, keep=1)
    assert verify(backup).damaged != ()
    back_up(small.root, backup, keep=1, rehash=True)
    assert verify(backup).damaged == ()
    flip(snapshot_file(backup), 200)
    assert len(verify(backup).damaged) == 1
    with pytest.raises(BackupError, match="snapshot of the backup is damaged"):
        restore(backup, tmp_path / "new")


def test_a_damaged_database_in_the_backup_is_no_workspace(small: Workspace, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    made = back_up(small.root, backup)
    database = next(each for each in made.snapshot.files if each.path == DATABASE)
    flip(backup / "blobs" / database.digest[7:], 5000)
    for despite in (False, True):
        with pytest.raises(BackupError, match="is damaged in the backup"):
            restore(backup, tmp_path / "new", despite_damage=despite)
    assert not (tmp_path / "new").exists()


def test_an_archive_cut_off_anywhere_is_refused(small: Workspace, tmp_path: Path) -> None:
    back_up(small.root, tmp_path / "backup.tar")
    whole = (tmp_path / "backup.tar").read_bytes()
    cut = tmp_path / "cut.tar"
    data_end = len(whole.rstrip(b"\0"))
    for size in {0, 1, 511, 512, 5000, len(whole) // 2, data_end - 600, data_end - 1}:
        cut.write_bytes(whole[:size])
        with pytest.raises(BackupError):
            restore(cut, tmp_path / "new")
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "path",
    ["../out", "/etc/cron.d/x", "keys/../../out", "", ".", "store/blobs/x", "datastore//x",
     "deployments/secrets/live/1/password", "leases/x", "runs/x.lock", "keys/a\0b", "x" * 5000],
)  # fmt: skip
def test_no_file_is_written_where_none_of_a_workspace_lies(
    small: Workspace, tmp_path: Path, path: str
) -> None:
    backup = tmp_path / "backup"
    made = back_up(small.root, backup).snapshot
    evil = SavedFile(path, made.files[0].digest, made.files[0].size_bytes)
    snapshot_file(backup).write_bytes(
        encoded(msgspec.structs.replace(made, files=(*made.files, evil)))
    )
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BackupError):
        restore(backup, tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"blobs": (("sha256:../../../etc/passwd", 1),)},
        {"blobs": (("sha256:" + "0" * 64, 1),)},
        {"lost": ("no digest",)},
        {"files": ()},
        {"id": "../../x"},
    ],
)
def test_what_a_stranger_could_say_is_refused(
    small: Workspace, tmp_path: Path, change: dict[str, object]
) -> None:
    backup = tmp_path / "backup"
    made = back_up(small.root, backup).snapshot
    changed = encoded(msgspec.structs.replace(made, **change))
    snapshot_file(backup).write_bytes(changed)
    with pytest.raises(BackupError) as caught:
        restore(backup, tmp_path / "new")
    assert "\n" not in str(caught.value)
    if "format" in change:
        assert str(caught.value) == "the backup was made by a newer Inferry; update Inferry"
    assert not (tmp_path / "new").exists()


def test_a_format_of_the_future_is_told_from_damage(small: Workspace, tmp_path: Path) -> None:
    made = back_up(small.root, tmp_path / "backup").snapshot
    assert decoded(encoded(made)) == made
    for data in (b"", b"{}", b"[]", b"\xff" * 100, b'{"digest": "x", "snapshot": {}}'):
        with pytest.raises(BackupError, match="damaged"):
            decoded(data)
    assert isinstance(made, Snapshot)


def test_a_database_of_a_newer_inferry_is_refused(small: Workspace, tmp_path: Path) -> None:
    with closing(sqlite3.connect(small.root / DATABASE)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    back_up(small.root, tmp_path / "backup")
    with pytest.raises(WorkspaceDamagedError, match="newer Inferry; update"):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_of_an_older_inferry_is_brought_up_to_date(
    small: Workspace, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    made = back_up(small.root, backup).snapshot
    rows = write_old(tmp_path / "old.db", 3)
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    data = (tmp_path / "old.db").read_bytes()
    old = SavedFile(DATABASE, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    (backup / "blobs" / old.digest[7:]).write_bytes(data)
    snapshot_file(backup).write_bytes(encoded(msgspec.structs.replace(made, files=(old,))))
    restore(backup, tmp_path / "new")
    assert Workspace.open(tmp_path / "new").models.list(name="digits") != []
    assert missing(tmp_path / "new" / DATABASE, rows) == []
    assert not [*(tmp_path / "new").glob(f"{DATABASE}.before-*")]


def test_links_and_strange_names_in_an_archive_lead_nowhere(
    small: Workspace, tmp_path: Path
) -> None:
    back_up(small.root, tmp_path / "backup.tar")
    with tarfile.open(tmp_path / "backup.tar", "a") as archive:
        for name, kind in (("blobs/" + "a" * 64, tarfile.SYMTYPE), ("blobs/x", tarfile.LNKTYPE),
                           ("../out", tarfile.REGTYPE), ("dev", tarfile.CHRTYPE)):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry, io.BytesIO())
    before = {path.name for path in tmp_path.iterdir()}
    restore(tmp_path / "backup.tar", tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {*before, "new"}
    workspace = Workspace.open(tmp_path / "new")
    assert downloaded(workspace, "data") == {"data.txt": b"x" * 5000}
