"""``inferry activity ...``."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from registry.activities import Activities
from registry.database import Database
from registry.errors import CancelledError, EngineError
from registry.paths import WorkspacePaths
from runtime.cli.activity import follow
from tests.runtime.conftest import Cli


@pytest.fixture
def activities(cli: Cli, tmp_path: Path) -> Activities:
    """Of the workspace of ``cli``."""
    paths = WorkspacePaths(tmp_path / ".inferry")
    return Activities(paths, Database(paths.database))


def _failed(activities: Activities) -> str:
    with pytest.raises(EngineError), activities.start("image", "digits:1") as activity:
        raise EngineError("no engine\x1b[2J here")
    return activity.id


def test_list_and_show(cli: Cli, activities: Activities) -> None:
    failed = _failed(activities)
    with activities.start("push", "digits:2") as activity:
        activity.phase("Pushing", total=2048)
        activity.advance(512)
        activity.advance(512)
        table = cli("activity", "list").stdout.splitlines()
        assert table[0].split() == [
            "ID", "KIND", "SUBJECT", "STATE", "PHASE", "PROGRESS", "STARTED_AT", "CAUSE",
        ]  # fmt: skip
        assert table[1].startswith(f"{activity.id}  push   digits:2  running  Pushing  0 % of 2.0")
        assert table[2].startswith(f"{failed}  image  digits:1  failed")
        assert r"no engine\x1b[2J here" in table[2]
        listed = json.loads(cli("activity", "list", "--running", "-o", "json").stdout)
        assert [(a["id"], a["state"], a["total"]) for a in listed] == [
            (activity.id, "running", 2048)
        ]
    shown = json.loads(cli("activity", "show", activity.id, "-o", "json").stdout)
    assert (shown["state"], shown["done"], shown["cause"]) == ("succeeded", 1024, None)
    assert "succeeded" in cli("activity", "show", activity.id).stdout
    assert json.loads(cli("activity", "list", "--kind", "image", "-o", "json").stdout)[0][
        "id"
    ] == failed  # fmt: skip


def test_log_prints_what_was_said(cli: Cli, activities: Activities) -> None:
    with activities.start("push", "digits:2") as activity:
        assert cli("activity", "log", activity.id).stdout == ""
        activity.log("blob 1\x07")
    lines = cli("activity", "log", activity.id[:-1]).stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [r"blob 1\x07", "succeeded"]


def test_cancel_asks_for_the_end(cli: Cli, activities: Activities) -> None:
    with activities.start("push", "digits:2") as activity:
        assert cli("activity", "cancel", activity.id).stdout.startswith("Asked for the end of 2")
        with pytest.raises(CancelledError):
            activity.phase("Next")
    done = cli("activity", "cancel", activity.id)
    assert (done.code, done.stdout) == (1, "")
    assert "has ended already: succeeded" in done.stderr


def test_what_is_not_there_is_said(cli: Cli) -> None:
    for command in ("show", "log", "cancel", "watch"):
        done = cli("activity", command, "2020")
        assert (done.code, done.stdout) == (1, "")
        assert done.stderr == "inferry: there is no activity 2020; see inferry activity list\n"
        assert cli("activity", command, "../x").code == 1


def test_watch_tells_by_its_exit_code(cli: Cli, activities: Activities) -> None:
    failed = _failed(activities)
    done = cli("activity", "watch", failed)
    assert done.code == 1
    assert done.stdout.rstrip().endswith(r"failed: no engine\x1b[2J here")
    assert done.stderr == "inferry: failed: no engine\\x1b[2J here\n"
    with activities.start("push", "digits:2") as activity:
        pass
    done = cli("activity", "watch", activity.id)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.endswith(" succeeded\n")
    lines = [
        json.loads(line)
        for line in cli("activity", "watch", activity.id, "-o", "json").stdout.splitlines()
    ]
    assert lines[0]["log"].endswith(" succeeded")
    assert lines[-1]["activity"]["state"] == "succeeded"


def test_watch_follows_one_until_its_end(cli: Cli, activities: Activities) -> None:
    is_seen, may_end = threading.Event(), threading.Event()

    def work() -> None:
        with activities.start("push", "digits:2") as activity:
            activity.phase("Pushing")
            activity.log("one")
            is_seen.set()
            may_end.wait(60)
            activity.log("two")

    worker = threading.Thread(target=work)
    worker.start()
    assert is_seen.wait(60)
    (running,) = activities.list(running_only=True)
    said: list[str] = []
    states = []

    def wait(_: float) -> None:
        may_end.set()
        worker.join()

    for found, lines in follow(activities, running.id[:-1], wait):
        states.append((found.state, found.phase))
        said += [line.split(" ", 1)[1] for line in lines]
    assert states == [("running", "Pushing"), ("succeeded", "Pushing")]
    assert said == ["one", "two", "succeeded"]
