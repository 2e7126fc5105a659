"""``inferry backup`` and ``inferry restore``, as people call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry import Workspace
from runtime.cli.main import run

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """With a model and a secret; the current one."""
    monkeypatch.chdir(tmp_path)
    made = Workspace.init(tmp_path / ".inferry", base="none")
    (tmp_path / "data.txt").write_bytes(b"x" * 5000)
    made.models.register(tmp_path / "data.txt", name="data")
    made.images.create("web", models=["data"], script=_script(tmp_path), proof=False)
    made.deployments.create("live", "web:1", actor="ada")
    return made


def _script(folder: Path) -> Path:
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    return folder / "score.py"


def test_a_backup_is_made_listed_verified_and_restored(
    workspace: Workspace, capsys: Captured
) -> None:
    assert run(["backup", "backup"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Backed up to backup: snapshot 000001-")
    assert "secrets cannot be opened" in said.out
    assert run(["backup", "backup", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["models"], made["deployments"], made["has_keys"]) == (1, 1, False)
    assert run(["backup", "backup", "--list", "-o", "json"]) == 0
    assert [each["id"][:6] for each in json.loads(capsys.readouterr().out)] == ["000001", "000002"]
    assert run(["backup", "backup", "--verify"]) == 0
    assert capsys.readouterr().out.endswith(": all whole\n")
    assert run(["restore", "backup", "new"]) == 0
    said = capsys.readouterr()
    assert f"Restored new: snapshot {made['id']}, 1 models, 1 images" in said.out
    assert "set them again: keys of deployment live" in said.out
    assert Workspace.open("new").deployments.get("live").name == "live"
    [activity, _] = workspace.activities.list(kind="backup")
    assert (activity.state, activity.subject) == ("succeeded", "backup")


def test_damage_is_said_with_exit_code_1(workspace: Workspace, capsys: Captured) -> None:
    assert run(["backup", "backup"]) == 0
    digest = workspace.models.get("data").files[0].digest
    Path("backup/blobs", digest[7:]).write_bytes(b"y" * 5000)
    capsys.readouterr()
    assert run(["backup", "backup", "--verify"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == f"damaged  {digest} is damaged in the backup"
    assert run(["backup", "backup", "--verify", "-o", "json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["damaged"]) == 1
    assert run(["restore", "backup", "new"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"inferry: {digest} is damaged in the backup; another snapshot")
    assert run(["restore", "backup", "new", "--despite-damage", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["damaged"] == [digest]


def test_what_means_nothing_is_usage(workspace: Workspace, capsys: Captured) -> None:
    assert run(["backup"]) == 2
    assert run(["backup", "backup", "--verify", "--list"]) == 2
    assert run(["backup", "data.txt"]) == 1
    assert run(["restore", "data.txt", "new"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("is no backup, or is damaged")
