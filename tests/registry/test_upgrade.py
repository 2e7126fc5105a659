"""Workspaces of older versions are brought up to date when they are opened, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.database import MIGRATIONS
from registry.database_copy import KEPT, keep_copy
from registry.errors import WorkspaceDamagedError
from tests.registry.old_databases import FROZEN, KNOWN, ROWS, missing, script, write_old

VERSIONS = range(1, len(MIGRATIONS))


def old_workspace(root: Path, version: int) -> list[Any]:
    """Its rows."""
    Workspace.init(root, base="none")
    for path in root.glob("workspace.db*"):
        path.unlink()
    return [*write_old(root / "workspace.db", version)]


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def schema(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return set(connection.execute("SELECT name, sql FROM sqlite_schema"))


def test_scripts_that_were_given_out_never_change_nor_move() -> None:
    assert tuple(FROZEN) == MIGRATIONS[: len(FROZEN)]
    for name, digest in FROZEN.items():
        assert hashlib.sha256(script(name).encode()).hexdigest() == digest, name
    assert set(ROWS) <= set(MIGRATIONS)


def test_old_databases_have_rows_in_every_table(tmp_path: Path) -> None:
    write_old(tmp_path / "old.db", KNOWN)
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in names:
            assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() > (0,), name


@pytest.mark.parametrize("version", VERSIONS)
def test_opening_brings_each_version_up_to_date_with_all_its_rows(
    tmp_path: Path, version: int
) -> None:
    root, fresh = tmp_path / "ws", tmp_path / "fresh"
    rows = old_workspace(root, version)
    workspace = Workspace.open(root)
    database = root / "workspace.db"
    assert version_of(database) == len(MIGRATIONS)
    assert missing(database, rows) == []
    Workspace.init(fresh, base="none")
    assert schema(database) == schema(fresh / "workspace.db")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert [model.reference for model in workspace.models.list()] == ["digits:1"]
    kept = root / f"workspace.db.before-{version}"
    assert version_of(kept) == version
    assert missing(kept, rows) == []
    assert kept.stat().st_mode & 0o777 == 0o600
    Workspace.open(root)
    assert [*root.glob("workspace.db.before-*")] == [kept]


class Dying(sqlite3.Connection):
    """Kills its process before the ``at``-th statement of them all."""

    at = 0
    calls = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """As of a connection."""
        Dying.calls += 1
        if Dying.calls == Dying.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments)


def opened_in_child(root: Path, *, dies_at: int = 0) -> int:
    """The status of a process that opens the workspace, once it has ended."""
    return waited(in_child(lambda: Workspace.open(root), dies_at))


def in_child(work: Callable[[], object], dies_at: int = 0) -> int:
    child = os.fork()
    if child:
        return child
    connect = sqlite3.connect
    Dying.at, Dying.calls = dies_at, 0
    sqlite3.connect = lambda *a, **named: connect(*a, **named, factory=Dying)  # type: ignore[assignment]
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def waited(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("version", [1, KNOWN])
def test_an_upgrade_that_is_killed_leaves_the_old_or_the_new_one(
    tmp_path: Path, version: int
) -> None:
    root = tmp_path / "ws"
    for at in range(1, 300, 6 if version > 1 else 19):
        rows = old_workspace(root, version)
        status = opened_in_child(root, dies_at=at)
        assert version_of(root / "workspace.db") in (version, len(MIGRATIONS))
        assert missing(root / "workspace.db", rows) == []
        Workspace.open(root)
        assert version_of(root / "workspace.db") == len(MIGRATIONS)
        assert missing(root / "workspace.db", rows) == []
        assert not [*root.glob("*.partial")]
        if status == 0:
            assert at > 10
            return
        assert status == -signal.SIGKILL
    raise AssertionError("it never came to its end")


def test_of_several_processes_that_open_it_one_does_it(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    rows = old_workspace(root, 1)
    children = [in_child(lambda: Workspace.open(root)) for _ in range(6)]
    assert [waited(child) for child in children] == [0] * 6
    assert missing(root / "workspace.db", rows) == []
    assert [path.name for path in root.glob("workspace.db.before-*")] == ["workspace.db.before-1"]


def test_a_newer_version_is_refused_and_not_touched(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    Workspace.init(root, base="none")
    with closing(sqlite3.connect(root / "workspace.db")) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = (root / "workspace.db").read_bytes()
    for enter in (Workspace.open, Workspace.init):
        with pytest.raises(WorkspaceDamagedError, match="written by a newer Inferry; update"):
            enter(root)
    assert (root / "workspace.db").read_bytes() == before
    assert not [*root.glob("workspace.db.before-*")]


def test_a_new_workspace_leaves_no_copy(tmp_path: Path) -> None:
    Workspace.init(tmp_path / "ws", base="none")
    assert not [*(tmp_path / "ws").glob("workspace.db.*before*")]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an old database."""
    write_old(tmp_path / "x.db", 1)
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        yield connection


def test_the_newest_copies_stay_and_a_large_database_has_none(
    tmp_path: Path, source: sqlite3.Connection
) -> None:
    path = tmp_path / "x.db"
    (tmp_path / "x.db.before-mine").write_bytes(b"not ours")
    (tmp_path / "x.db.before-1.partial").write_bytes(b"of one that was killed")
    assert keep_copy(source, path, 8, max_bytes=1000) is None
    for version in (8, 9, 10):
        assert keep_copy(source, path, version) == tmp_path / f"x.db.before-{version}"
    names = {each.name for each in tmp_path.glob("x.db.before-*")}
    assert names == {"x.db.before-9", "x.db.before-10", "x.db.before-mine"}
    assert KEPT == 2
