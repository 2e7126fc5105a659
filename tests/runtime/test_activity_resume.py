"""``inferry activity resume``: the command once more, where it was given; what was finished is
found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry import Workspace
from registry.activities.origin import ServiceOrigin, begun_by
from registry.activities.record import DEAD
from registry.errors import EngineError
from runtime.cli.command_line import again
from tests.registry.small_containers import Parts, make_parts
from tests.runtime.conftest import Cli

ROOT = Path(__file__).parents[2]
DIES_SIGNING = """
import os, signal, sys
from registry.activities.running import RunningActivity
from runtime.cli.main import main

real = RunningActivity.phase

def phase(self, name, total=0):
    real(self, name, total)
    if name == "Signing":
        os.kill(os.getpid(), signal.SIGKILL)

RunningActivity.phase = phase
main()
"""


@pytest.fixture
def parts(cli: Cli, tmp_path: Path) -> Parts:
    """Of a container, in a folder of the workspace's."""
    return make_parts(tmp_path / "parts")


def _create(parts: Parts) -> list[str]:
    return [
        *("image", "create", "i", "--model", "m", "--script", "score.py"),
        *("--requirements", "requirements.txt", "--wheelhouse", "wheelhouse"),
        *("--base", "base.tar", "--platform", "linux/amd64", "--no-proof"),
    ]


def _killed(cli: Cli, parts: Parts) -> str:
    """The id of an activity whose command was killed when its layers were finished."""
    assert cli("model", "register", str(parts.model), "--name", "m").code == 0
    done = subprocess.run(
        [sys.executable, "-c", DIES_SIGNING, *_create(parts)],
        cwd=parts.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    [found] = json.loads(cli("activity", "list", "--output", "json").stdout)
    assert (found["state"], found["cause"], found["begun_by"]) == ("failed", DEAD, "command")
    return str(found["id"])


def _log(cli: Cli, id: str) -> str:
    return cli("activity", "log", id).stdout


def test_an_image_whose_process_was_killed_goes_on_with_the_layers_that_it_had(
    cli: Cli, parts: Parts
) -> None:
    id = _killed(cli, parts)
    first = _log(cli, id)
    assert "packages: locked 12" in first
    assert "m:1: written" in first
    done = cli("activity", "resume", id[:-2], "--output", "json")
    assert done.code == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["name"], made["version"], made["state"]) == ("i", 2, "succeeded")
    [second, before] = json.loads(cli("activity", "list", "--output", "json").stdout)
    assert (second["resumes"], before["resumed_by"]) == (id, second["id"])
    again = _log(cli, second["id"])
    assert "packages: 12 as locked before" in again
    assert "m:1: was there" in again
    refused = cli("activity", "resume", id)
    assert (refused.code, refused.stdout) == (1, "")
    assert refused.stderr.endswith(f"was resumed by {second['id']}, which has succeeded\n")


def test_it_says_what_it_resumes_and_where_and_leaves_the_folder(cli: Cli, parts: Parts) -> None:
    id = _killed(cli, parts)
    before = Path.cwd()
    done = cli("activity", "resume", id)
    assert done.code == 0
    assert done.stdout.startswith("Created i:2, digest sha256:")
    assert f"Resuming in {parts.root}: inferry image create i --model m" in done.stderr
    assert Path.cwd() == before


def test_what_is_gone_is_said_and_it_can_be_resumed_once_it_is_back(cli: Cli, parts: Parts) -> None:
    id = _killed(cli, parts)
    parts.script.rename(parts.root / "elsewhere.py")
    done = cli("activity", "resume", id)
    assert done.code != 0
    assert "score.py" in done.stderr
    (parts.root / "elsewhere.py").rename(parts.script)
    moved = parts.root.rename(parts.root.with_name("moved"))
    done = cli("activity", "resume", id)
    assert done.code == 1
    assert "the folder where activity" in done.stderr
    assert "No such file or directory" in done.stderr
    moved.rename(parts.root)
    assert cli("activity", "resume", id).code == 0


def test_one_that_a_client_of_the_service_began_needs_the_service(cli: Cli, tmp_path: Path) -> None:
    activities = Workspace.open(tmp_path / ".inferry").activities
    origin = ServiceOrigin("images.create", {})
    with (
        pytest.raises(EngineError),
        begun_by(origin),
        activities.start("image", "i:1") as activity,
    ):
        raise EngineError("no engine")
    done = cli("activity", "resume", activity.id)
    assert (done.code, done.stdout) == (1, "")
    assert f"inferry activity resume {activity.id} -w URL" in done.stderr


def test_a_backup_that_failed_is_resumed(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.write_text("in the way")
    assert cli("backup", str(target)).code == 1
    [found] = Workspace.open(tmp_path / ".inferry").activities.list()
    target.unlink()
    done = cli("activity", "resume", found.id)
    assert done.code == 0, done.stderr
    assert cli("backup", str(target), "--verify").code == 0


def test_more_options_stand_before_what_is_no_option() -> None:
    assert again(("backup", "x"), "-o", "json") == ["backup", "x", "-o", "json"]
    assert again(("backup", "--", "-x"), "-o", "json") == ["backup", "-o", "json", "--", "-x"]
