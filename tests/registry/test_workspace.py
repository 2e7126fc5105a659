"""Making, opening and finding a workspace."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import registry
from registry import Workspace
from registry.database import translate
from registry.errors import (
    NoWorkspaceError,
    RegistryError,
    StoreFullError,
    WorkspaceBusyError,
    WorkspaceDamagedError,
)


def test_the_public_names_are_these() -> None:
    assert sorted(registry.__all__) == [
        "DamagedBlobError",
        "Image",
        "InUseError",
        "InvalidNameError",
        "InvalidSourceError",
        "Model",
        "NotFoundError",
        "PurgeReport",
        "RegistryError",
        "Workspace",
    ]
    assert all(hasattr(registry, name) for name in registry.__all__)


@pytest.mark.slow
def test_importing_the_registry_imports_nothing_heavy() -> None:
    program = (
        "import registry, sys; print(sorted({'onnx', 'numpy', 'onnxruntime'} & {*sys.modules}))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout == "[]\n", said.stderr


def test_init_makes_an_empty_oci_layout(workspace: Workspace) -> None:
    store = workspace.root / "store"
    assert json.loads((store / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((store / "index.json").read_text())["manifests"] == []
    assert workspace.models.list() == []
    assert workspace.images.list() == []


def test_init_keeps_what_is_there(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"m")
    workspace.models.register(tmp_path / "m.bin", name="m")
    assert [m.reference for m in Workspace.init(workspace.root).models.list()] == ["m:1"]


def test_init_makes_the_folders_above(tmp_path: Path) -> None:
    assert Workspace.init(tmp_path / "a/b/c").models.list() == []


def test_init_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    for root in ("file", "file/below"):
        with pytest.raises(NoWorkspaceError):
            Workspace.init(tmp_path / root)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_open_without_a_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NoWorkspaceError, match="inferry init"):
        Workspace.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_find_takes_the_nearest_workspace_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workspace.init(tmp_path / ".inferry")
    Workspace.init(tmp_path / "a/.inferry")
    (tmp_path / "a/b/c").mkdir(parents=True)
    assert Workspace.find(tmp_path / "a/b/c").root == tmp_path / "a/.inferry"
    assert Workspace.find(tmp_path).root == tmp_path / ".inferry"
    monkeypatch.chdir(tmp_path / "a/b")
    assert Workspace.find().root == tmp_path / "a/.inferry"


def test_find_without_a_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NoWorkspaceError, match="inferry init"):
        Workspace.find(tmp_path)


def test_a_with_block_gives_the_workspace(tmp_path: Path) -> None:
    with Workspace.init(tmp_path / "ws") as workspace:
        assert workspace.models.list() == []


@pytest.mark.parametrize(
    "garbage", [b"this is no database at all\n" * 200, b"SQLite format 3\0" * 9]
)
def test_a_database_of_garbage_is_damaged(workspace: Workspace, garbage: bytes) -> None:
    for file in workspace.root.glob("workspace.db*"):
        file.unlink()
    (workspace.root / "workspace.db").write_bytes(garbage)
    for enter in (Workspace.open, Workspace.init):
        with pytest.raises(WorkspaceDamagedError) as caught:
            enter(workspace.root)
        assert "\n" not in str(caught.value)


def test_a_workspace_of_a_newer_version_is_left_alone(workspace: Workspace) -> None:
    connection = sqlite3.connect(workspace.root / "workspace.db")
    connection.execute("PRAGMA user_version = 1000")
    connection.close()
    for enter in (Workspace.open, Workspace.init):
        with pytest.raises(WorkspaceDamagedError, match="newer Inferry"):
            enter(workspace.root)


def test_a_workspace_without_its_store_is_damaged(workspace: Workspace) -> None:
    (workspace.root / "store/blobs/sha256").rmdir()
    with pytest.raises(WorkspaceDamagedError, match="lost its store"):
        Workspace.open(workspace.root)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY, WorkspaceBusyError),
        (sqlite3.SQLITE_LOCKED, WorkspaceBusyError),
        (sqlite3.SQLITE_BUSY | 1 << 8, WorkspaceBusyError),  # an extended code
        (sqlite3.SQLITE_FULL, StoreFullError),
        (sqlite3.SQLITE_READONLY, WorkspaceDamagedError),
        (sqlite3.SQLITE_PERM, WorkspaceDamagedError),
        (sqlite3.SQLITE_CANTOPEN, WorkspaceDamagedError),
        (sqlite3.SQLITE_CORRUPT, WorkspaceDamagedError),
        (sqlite3.SQLITE_NOTADB, WorkspaceDamagedError),
        (0, WorkspaceDamagedError),
    ],
)
def test_every_database_error_has_its_meaning(code: int, expected: type[RegistryError]) -> None:
    error = sqlite3.OperationalError("it failed")
    if code:
        error.sqlite_errorcode = code
    assert type(translate(error)) is expected


def test_a_workspace_that_another_process_holds_is_busy(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.bin").write_bytes(b"m")
    monkeypatch.setattr("registry.database.BUSY_TIMEOUT_S", 0.1)
    holder = sqlite3.connect(workspace.root / "workspace.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(WorkspaceBusyError, match="try again"):
        workspace.models.register(tmp_path / "m.bin", name="m")
    assert workspace.models.list() == []  # reading goes on
    holder.execute("ROLLBACK")
    holder.close()
    assert workspace.models.register(tmp_path / "m.bin", name="m").version == 1


@pytest.mark.slow
def test_processes_that_init_at_once_all_get_the_workspace(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from registry import Workspace
workspace = Workspace.init(sys.argv[1])
Path(sys.argv[2]).write_bytes(sys.argv[2].encode())
print(workspace.models.register(sys.argv[2], name="m").version)
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "ws"), str(tmp_path / f"{number}")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    said = [worker.communicate(timeout=60) for worker in workers]
    assert sorted(output for output, _ in said) == ["1\n", "2\n", "3\n", "4\n"], said
