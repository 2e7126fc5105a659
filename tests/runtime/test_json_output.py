"""Every command can answer a program: ``--output json``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from runtime.cli.main import cli, run
from tests.test_docs import commands

PRINTS = "it prints a text that is somebody else's, as it is"
SERVES = "it goes on until it is ended; a line says what happens"
WITHOUT = {
    "inferry activity log": PRINTS,
    "inferry deployment logs": PRINTS,
    "inferry edge logs": PRINTS,
    "inferry image lock": "it prints a requirements file",
    "inferry image log": PRINTS,
    "inferry run log": PRINTS,
    "inferry run value": "what it prints is JSON already",
    "inferry score": "it prints the answer of the model's server",
    "inferry edge agent": SERVES,
    "inferry edge hub": SERVES,
    "inferry fpga board": SERVES,
    "inferry registry serve": SERVES,
    "inferry serve": SERVES,
    "inferry up": SERVES,
}
"""Commands that have no ``--output``, and why."""

ALL = list(commands(cli, "inferry"))


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_a_command_answers_programs_or_says_why_not(name: str, command: click.Command) -> None:
    has = any("--output" in parameter.opts for parameter in command.params)
    assert has != (name in WITHOUT)


def test_every_reason_is_of_a_command_that_there_is() -> None:
    assert set(WITHOUT) <= {name for name, _ in ALL}


Said = pytest.CaptureFixture[str]


def _json(capsys: Said, root: Path, *args: str) -> object:
    """What the command printed: one document, and nothing beside it."""
    assert run([*args, "--workspace", str(root), "--output", "json"]) == 0, capsys.readouterr()
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


@pytest.fixture
def root(tmp_path: Path, capsys: Said) -> Path:
    assert run(["init", str(tmp_path / "ws"), "--base", "none", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(tmp_path / "ws")}
    return tmp_path / "ws"


def test_what_is_done_to_a_model_and_an_image_is_said(
    root: Path, tmp_path: Path, capsys: Said
) -> None:
    (tmp_path / "w.txt").write_text("weights")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    _json(capsys, root, "model", "register", str(tmp_path / "w.txt"), "--name", "m")
    tagged = _json(capsys, root, "model", "tag", "m", "k=v")
    assert isinstance(tagged, dict)
    assert (tagged["version"], tagged["tags"]) == (1, {"k": "v"})
    copied = str(tmp_path / "copy")
    assert _json(capsys, root, "model", "download", "m", copied) == {"path": copied}
    script = str(tmp_path / "score.py")
    assert run(["image", "create", "i", "--model", "m", "--script", script, "-w", str(root)]) == 0
    capsys.readouterr()
    tagged = _json(capsys, root, "image", "tag", "i", "k=v")
    assert isinstance(tagged, dict)
    assert tagged["tags"] == {"k": "v"}
    for noun, name in (("image", "i"), ("model", "m")):
        gone = _json(capsys, root, noun, "delete", name)
        assert isinstance(gone, dict)
        assert (gone["name"], gone["version"]) == (name, 1)
        assert _json(capsys, root, noun, "list") == []


def test_what_is_done_to_a_datastore_is_said(root: Path, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "a.txt").write_text("a")
    where = f"path={tmp_path / 'data'}"
    _json(capsys, root, "datastore", "attach", "d", "--kind", "file", "--set", where)
    for args in (("default", "d"), ("default", "workspace"), ("detach", "d")):
        found = _json(capsys, root, "datastore", *args)
        assert isinstance(found, dict)
        assert found["name"] == args[1]
    _json(capsys, root, "datastore", "upload", str(tmp_path / "a.txt"))
    gone = _json(capsys, root, "datastore", "delete", "a.txt")
    assert gone == {"path": "a.txt", "files": 1}


def test_what_is_done_to_experiments_runs_and_tokens_is_said(
    root: Path, tmp_path: Path, capsys: Said
) -> None:
    (tmp_path / "job.py").write_text(
        "import pathlib\npathlib.Path('outputs').mkdir(exist_ok=True)\n"
        "pathlib.Path('outputs/a.txt').write_text('a')\n"
    )
    script = str(tmp_path / "job.py")
    where = ["--folder", str(tmp_path), "--workspace", str(root)]
    assert run(["run", "submit", script, "--experiment", "e", *where]) == 0
    capsys.readouterr()
    for args in (("tag", "e:1", "k=v"), ("delete", "e:1"), ("restore", "e:1")):
        found = _json(capsys, root, "run", *args)
        assert isinstance(found, dict)
        assert (found["run"], found["is_deleted"]) == ("e:1", args[0] == "delete")
    written = _json(capsys, root, "run", "download", "e:1", str(tmp_path / "out"))
    assert written == {"path": str(tmp_path / "out"), "files": 1}
    written = _json(capsys, root, "run", "snapshot", "download", "e:1", str(tmp_path / "snap"))
    assert isinstance(written, dict)
    assert written["files"] >= 1
    for word in ("delete", "restore"):
        found = _json(capsys, root, "experiment", word, "e")
        assert isinstance(found, dict)
        assert (found["name"], found["is_deleted"]) == ("e", word == "delete")
    _json(capsys, root, "registry", "token", "create", "ada")
    gone = _json(capsys, root, "registry", "token", "revoke", "ada")
    assert gone == {"name": "ada", "revoked": True}


def test_what_is_done_to_targets_and_deployments_is_said(
    root: Path, tmp_path: Path, capsys: Said
) -> None:
    found = _json(
        capsys, root, "target", "attach", "t", "--kind", "ssh", "--no-check",
        "--set", "host=h", "--set", "user=u", "--set", "host_key=ssh-ed25519 AAAA",
    )  # fmt: skip
    assert isinstance(found, dict)
    found = _json(capsys, root, "target", "detach", "t")
    assert isinstance(found, dict)
    assert found["name"] == "t"
    hook = _json(capsys, root, "activity", "hook", "add", "https://example.org/x")
    assert isinstance(hook, dict)
    gone = _json(capsys, root, "activity", "hook", "delete", str(hook["id"]))
    assert isinstance(gone, dict)
    assert gone["id"] == hook["id"]
    delivered = _json(capsys, root, "activity", "hook", "deliver")
    assert delivered == {"delivered": 0, "waiting": 0}
