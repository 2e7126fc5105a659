"""A backup has all that a workspace has, and only what is new is copied."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from registry import Workspace
from registry.backup import back_up, restore, verify
from registry.backup.contents import DROPPED_TOPS, KEPT_TOPS, KEY_TOPS, LOG_TOPS
from registry.backup.record import DATABASE
from registry.errors import (
    BackupError,
    CancelledError,
    DamagedBlobError,
    TargetError,
    TargetExistsError,
    TrustError,
    WorkspaceDamagedError,
)
from registry.paths import WorkspacePaths
from tests.registry.backup.conftest import SECRET
from tests.registry.store_check import blob_path, contents, downloaded

FORMS = ("backup", "backup.tar")


def shown(workspace: Workspace) -> dict[str, object]:
    """What the lists and shows of a workspace say."""
    [run] = workspace.tracking.runs.search().runs
    return {
        "models": workspace.models.list(),
        "images": workspace.images.list(),
        "deployments": workspace.deployments.list(),
        "ledger": workspace.deployments.ledger(),
        "run": run,
        "files": workspace.tracking.files.list(run.id),
        "notes": workspace.tracking.files.read(run.id, "outputs/notes.txt"),
        "datastores": workspace.datastores.list(),
        "activities": workspace.activities.list(kind="push"),
        "said": workspace.activities.log(workspace.activities.list(kind="push")[0].id),
        "bytes": {
            model.reference: downloaded(workspace, model.reference)
            for model in workspace.models.list()
        },
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_restored_workspace_shows_the_same_and_goes_on_working(
    full: Workspace, tmp_path: Path, form: str
) -> None:
    made = back_up(full.root, tmp_path / form, with_keys=True)
    assert made.left_out == ()
    assert made.snapshot.counts == {"models": 2, "images": 1, "runs": 1, "deployments": 1}
    before = shown(full)
    shutil.rmtree(full.root)
    restored = restore(tmp_path / form, tmp_path / "new")
    assert (restored.damaged, restored.missing) == ((), ())
    workspace = Workspace.open(tmp_path / "new")
    assert shown(workspace) == before
    assert (workspace.root / "datastore/photos/one.jpg").read_bytes() == b"picture"
    assert workspace.deployments.secrets("live") == {"password": SECRET}
    workspace.images.verify("web")
    assert workspace.models.register(tmp_path / "data.txt", name="data").version == 2
    assert workspace.purge().blobs == 0
    with closing(sqlite3.connect(workspace.root / DATABASE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("form", FORMS)
def test_without_keys_no_secret_can_be_opened_and_restore_says_which(
    full: Workspace, tmp_path: Path, form: str
) -> None:
    backed_up = back_up(full.root, tmp_path / form).snapshot
    assert not any(file.path.startswith("keys/") for file in backed_up.files)
    key = (full.root / "keys" / "secrets.key").read_bytes().strip()
    found = [tmp_path / form] if form.endswith(".tar") else (tmp_path / form).rglob("*")
    assert not any(key in path.read_bytes() for path in found if path.is_file())
    restored = restore(tmp_path / form, tmp_path / "new")
    assert restored.missing[0].endswith("secrets of deployment live, keys of deployment live")
    assert "signed by a new key" in restored.missing[1]
    workspace = Workspace.open(tmp_path / "new")
    with pytest.raises(TrustError):
        workspace.deployments.secrets("live")
    workspace.deployments.set_secret("live", "password", b"again", actor="ada")
    assert workspace.deployments.secrets("live") == {"password": b"again"}


def test_a_second_backup_copies_only_what_is_new(full: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    back_up(full.root, target, keep=2)
    inodes = {path.name: path.stat().st_ino for path in (target / "blobs").iterdir()}
    assert (
        back_up(full.root, target, keep=2).new_bytes < 1000
    )  # the snapshot's own database at most
    (tmp_path / "more.txt").write_bytes(b"y" * 300_000)
    full.models.register(tmp_path / "more.txt", name="more")
    made = back_up(full.root, target, keep=2)
    database = next(file for file in made.snapshot.files if file.path == DATABASE)
    assert 300_000 < made.new_bytes - database.size_bytes < 310_000
    for path in (target / "blobs").iterdir():
        assert inodes.get(path.name, path.stat().st_ino) == path.stat().st_ino


def test_the_newest_snapshots_stay_and_what_only_older_ones_had_goes(
    full: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "backup"
    first = back_up(full.root, target, keep=2, clock=lambda: "2030-01-01T00:00:00Z").snapshot
    full.models.delete("data")
    full.purge()
    # A clock that was set back makes no snapshot older.
    second = back_up(full.root, target, keep=2, clock=lambda: "2020-01-01T00:00:00Z").snapshot
    assert {path.stem for path in (target / "snapshots").iterdir()} == {first.id, second.id}
    restore(target, tmp_path / "old", snapshot=first.id)
    assert len(Workspace.open(tmp_path / "old").models.list()) == 2
    third = back_up(full.root, target, keep=2).snapshot
    assert {path.stem for path in (target / "snapshots").iterdir()} == {second.id, third.id}
    named = {digest[7:] for each in (second, third) for digest in each.contents()}
    assert {path.name for path in (target / "blobs").iterdir()} == named
    with pytest.raises(BackupError, match=f"no snapshot .*it has {second.id}, {third.id}"):
        restore(target, tmp_path / "new", snapshot=first.id)


def test_every_name_in_a_workspace_was_decided_on(full: Workspace) -> None:
    decided = {*KEPT_TOPS, *LOG_TOPS, *KEY_TOPS, *DROPPED_TOPS, DATABASE}
    paths = WorkspacePaths(full.root)
    assert {
        path.relative_to(full.root).parts[0] for path in vars(paths).values() if path != full.root
    } <= decided


def test_what_nobody_knows_is_left_out_and_said(full: Workspace, tmp_path: Path) -> None:
    (full.root / "notes.txt").write_text("mine")
    (full.root / "datastore" / "link").symlink_to("/etc/passwd")
    made = back_up(full.root, tmp_path / "backup")
    assert made.left_out == ("datastore/link", "notes.txt")


def test_only_its_owner_can_read_a_backup(full: Workspace, tmp_path: Path) -> None:
    for form in FORMS:
        back_up(full.root, tmp_path / form, with_keys=True)
    for path in (tmp_path / "backup", *(tmp_path / "backup").rglob("*"), tmp_path / "backup.tar"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    restore(tmp_path / "backup", tmp_path / "new")
    for path in (tmp_path / "new/keys").iterdir():
        if path.suffix != ".pub":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_place_with_other_things_is_refused(full: Workspace, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"picture")
    (tmp_path / "other.tar").write_bytes(b"not ours")
    (tmp_path / "file").write_bytes(b"no folder")
    for name in ("photos", "other.tar"):
        with pytest.raises(TargetExistsError, match=r"backup; (move it|name a new)"):
            back_up(full.root, tmp_path / name)
    with pytest.raises(TargetError):
        back_up(full.root, tmp_path / "file")
    for inside in (full.root / "backup", full.root.parent, full.root):
        with pytest.raises(TargetError, match="outside of the workspace"):
            back_up(full.root, inside)
    assert contents(tmp_path / "photos") == {"one.jpg": b"picture"}
    back_up(full.root, tmp_path / "backup")
    with pytest.raises(TargetExistsError, match="is there already"):
        restore(tmp_path / "backup", tmp_path / "photos")
    for what in ("nothing", "photos", "other.tar"):
        with pytest.raises(BackupError, match="no backup"):
            restore(tmp_path / what, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_damaged_workspace_does_not_take_the_place_of_a_good_backup(
    full: Workspace, tmp_path: Path
) -> None:
    for form in FORMS:
        back_up(full.root, tmp_path / form)
    digest = full.models.get("data").files[0].digest
    blob = blob_path(full, digest)
    blob.chmod(0o644)
    blob.write_bytes(b"z" * 200_000)
    with pytest.raises(DamagedBlobError):
        back_up(full.root, tmp_path / "fresh")
    with pytest.raises(DamagedBlobError):
        back_up(full.root, tmp_path / "backup.tar")
    assert verify(tmp_path / "backup.tar").damaged == ()
    assert verify(tmp_path / "fresh").damaged[0].startswith("the backup has no snapshot")
    made = back_up(full.root, tmp_path / "fresh", despite_damage=True)
    assert made.snapshot.lost == (digest,)
    assert verify(tmp_path / "fresh").lost == (digest,)
    assert restore(tmp_path / "fresh", tmp_path / "new").damaged == (digest,)
    blob.unlink()
    # The folder has it from before: what cannot be read here any more stays there.
    assert verify(tmp_path / "backup").damaged == ()
    with pytest.raises(DamagedBlobError, match="is missing"):
        back_up(full.root, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "good")
    assert downloaded(Workspace.open(tmp_path / "good"), "data") == {"data.txt": b"x" * 200_000}


def test_a_damaged_database_is_not_backed_up(full: Workspace, tmp_path: Path) -> None:
    with closing(sqlite3.connect(full.root / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [page] = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'model_files'"
        ).fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    with (full.root / DATABASE).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    with pytest.raises(WorkspaceDamagedError):
        back_up(full.root, tmp_path / "backup")
    assert list((tmp_path / "backup" / "snapshots").iterdir()) == []


class Cancelling:
    """Cancels in the phase ``at``."""

    def __init__(self, at: str) -> None:
        self._at, self._is_there = at, False

    def phase(self, name: str, total: int = 0) -> None:
        """As of a Watcher."""
        self._is_there = name.startswith(self._at)
        self.advance(0)

    def advance(self, count: int) -> None:
        """As of a Watcher."""
        if self._is_there:
            raise CancelledError("cancelled on request")


@pytest.mark.parametrize("form", FORMS)
def test_one_that_is_cancelled_leaves_the_one_before(
    full: Workspace, tmp_path: Path, form: str
) -> None:
    before = back_up(full.root, tmp_path / form).snapshot
    (tmp_path / "more.txt").write_bytes(b"more")
    full.models.register(tmp_path / "more.txt", name="more")
    for at in ("Copying the database", "Copying files", "Copying stored files", "Writing to"):
        with pytest.raises(CancelledError):
            back_up(full.root, tmp_path / form, watcher=Cancelling(at))
        verified = verify(tmp_path / form)
        assert (verified.snapshots, verified.damaged) == ((before.id,), ())
    for at in ("Writing files", "Writing stored files", "Bringing"):
        with pytest.raises(CancelledError):
            restore(tmp_path / form, tmp_path / "new", watcher=Cancelling(at))
    leftovers = {path.name for path in tmp_path.iterdir() if path.name.startswith((".", "new"))}
    assert leftovers == set()
    assert list((full.root / "leases").iterdir()) == []


def test_two_at_once_do_not_mix(full: Workspace, tmp_path: Path) -> None:
    for form in FORMS:
        back_up(full.root, tmp_path / form)

    class Second:
        """Tries to make one while the first is under way."""

        def __init__(self, target: Path) -> None:
            self.refused = 0
            self._target = target

        def phase(self, name: str, total: int = 0) -> None:
            """As of a Watcher."""
            with pytest.raises(TargetError, match="another process"):
                back_up(full.root, self._target)
            self.refused += 1

        def advance(self, count: int) -> None:
            """As of a Watcher."""

    for form in FORMS:
        second = Second(tmp_path / form)
        back_up(full.root, tmp_path / form, watcher=second)
        assert second.refused > 2
        assert verify(tmp_path / form).damaged == ()


def test_an_activity_that_ran_is_not_running_where_it_is_restored(
    full: Workspace, tmp_path: Path
) -> None:
    with full.activities.start("backup", "x"), full.activities.start("pull", "y"):
        back_up(full.root, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new")
    found = Workspace.open(tmp_path / "new").activities.list()
    assert {(each.kind, each.state) for each in found} == {
        ("pull", "failed"),
        ("push", "succeeded"),
        ("image", "succeeded"),
    }
    assert any("restored from" in (each.cause or "") for each in found)
