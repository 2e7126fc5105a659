"""What changed since somebody looked, and who is to be told."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.activities.events import changes_since
from registry.activities.hooks import (
    GIVE_UP_S,
    LONGEST_WAIT_S,
    MOST_WAITING,
    ActivityHooks,
    wait_s,
)
from registry.clock import utc_now
from registry.database import Database
from registry.errors import InvalidNameError, NotFoundError, RegistryError
from registry.paths import WorkspacePaths

URL = "https://chat.example/hook"


def database(workspace: Workspace) -> Database:
    return Database(WorkspacePaths(workspace.root).database)


def hooks_of(workspace: Workspace) -> ActivityHooks:
    return ActivityHooks(WorkspacePaths(workspace.root), database(workspace), utc_now)


def run_one(workspace: Workspace) -> str:
    with workspace.activities.start("image", "x") as activity:
        return activity.id


def fail_one(workspace: Workspace) -> None:
    with (
        pytest.raises(RegistryError, match="no luck"),
        workspace.activities.start("image", "x"),
    ):
        raise RegistryError("no luck")


def test_each_change_is_seen_once_and_the_last_one_of_an_activity_counts(
    workspace: Workspace,
) -> None:
    look = database(workspace)
    assert changes_since(look, 0) == ([], 0)
    with workspace.activities.start("image", "web:1") as activity:
        [began], cursor = changes_since(look, 0)
        assert (began.activity.id, began.activity.state) == (activity.id, "running")
        assert changes_since(look, cursor) == ([], cursor)
        activity.phase("Packing", total=10)
        [packing], cursor = changes_since(look, cursor)
        assert (packing.activity.phase, packing.activity.total) == ("Packing", 10)
        activity.phase("Writing")
    [ended], cursor = changes_since(look, cursor)
    assert (ended.activity.phase, ended.activity.state) == ("Writing", "succeeded")
    assert changes_since(look, cursor) == ([], cursor)


def test_a_cursor_goes_on_in_pieces_and_a_strange_one_begins_anew(workspace: Workspace) -> None:
    ids = [run_one(workspace) for _ in range(5)]
    look = database(workspace)
    seen, cursor = [], 0
    while True:
        found, cursor = changes_since(look, cursor, limit=2)
        if not found:
            break
        seen += [change.activity.id for change in found]
    assert seen == ids
    for strange in (-1, cursor + 100, 2**62):
        assert len(changes_since(look, strange)[0]) == 5


def test_what_is_forgotten_leaves_no_change(workspace: Workspace) -> None:
    run_one(workspace)
    with database(workspace).write() as connection:
        connection.execute("DELETE FROM activities")
        assert connection.execute("SELECT count(*) FROM activity_changes").fetchone()[0] == 0


def test_a_hook_is_told_of_its_kinds_and_states(workspace: Workspace) -> None:
    hooks = hooks_of(workspace)
    hook, secret = hooks.add(URL, kinds=["image"], states=["failed"], random=os.urandom)
    assert secret.startswith(b"whsec_")
    run_one(workspace)
    with pytest.raises(RegistryError), workspace.activities.start("push", "x"):
        raise RegistryError("of another kind")
    assert not hooks.is_any_due(1e10)
    fail_one(workspace)
    [due] = hooks.take(100.0, lease_s=60)
    assert (due.url, due.secret, due.tries) == (URL, secret, 0)
    said = json.loads(due.body)
    assert {key: said[key] for key in ("type", "kind", "state", "cause")} == {
        "type": "activity.failed",
        "kind": "image",
        "state": "failed",
        "cause": "no luck",
    }
    assert hooks.list()[0].waiting == 1
    hooks.done(due.id)
    assert hooks.list() == [hook]


def test_what_was_not_taken_is_due_again_later_and_given_up_in_the_end(
    workspace: Workspace,
) -> None:
    hooks = hooks_of(workspace)
    hooks.add(URL, states=["running", "succeeded"], random=os.urandom)
    run_one(workspace)
    now = 1000.0
    assert [json.loads(each.body)["state"] for each in hooks.take(now, lease_s=60)] == [
        "running",
        "succeeded",
    ]
    assert hooks.take(now + 59, lease_s=60) == []  # whoever took them may still be at it
    first, second = hooks.take(now + 61, lease_s=60)
    hooks.done(second.id)
    hooks.failed(first, "it answers 500", now)
    assert hooks.list()[0].said == "it answers 500"
    assert hooks.take(now + wait_s(1) - 1, lease_s=60) == []
    [again] = hooks.take(now + wait_s(1), lease_s=60)
    assert (again.id, again.tries) == (first.id, 1)
    assert hooks.take(now + GIVE_UP_S + 1, lease_s=60) == []
    assert hooks.list()[0].waiting == 0
    assert [wait_s(1), wait_s(2), wait_s(5), wait_s(10**6)] == [5, 10, 80, LONGEST_WAIT_S]


def test_a_receiver_that_is_away_for_long_is_not_owed_without_end(workspace: Workspace) -> None:
    hooks = hooks_of(workspace)
    hook, _ = hooks.add(URL, random=os.urandom)
    with database(workspace).write() as connection:
        connection.executemany(
            "INSERT INTO activity_outbox (hook, body) VALUES (?, ?)",
            [(hook.id, str(number)) for number in range(MOST_WAITING + 50)],
        )
    assert hooks.take(1000.0, lease_s=60)[0].body == b"50"
    assert hooks.list()[0].waiting == MOST_WAITING


def test_what_a_killed_process_began_is_told_as_failed(workspace: Workspace) -> None:
    hooks = hooks_of(workspace)
    hooks.add(URL, states=["failed"], random=os.urandom)
    child = os.fork()
    if child == 0:
        with workspace.activities.start("image", "x"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert hooks.take(1000.0, lease_s=60) == []
    workspace.activities.settle()
    [due] = hooks.take(1000.0, lease_s=60)
    assert json.loads(due.body)["state"] == "failed"


def test_a_secret_that_cannot_be_opened_holds_up_no_other(workspace: Workspace) -> None:
    hooks = hooks_of(workspace)
    hooks.add(URL, random=os.urandom)
    run_one(workspace)
    (workspace.root / "keys" / "secrets.key").unlink()
    hooks.add("https://other.example/hook", random=os.urandom)
    run_one(workspace)
    assert [due.url for due in hooks.take(1000.0, lease_s=60)] == ["https://other.example/hook"]
    assert "cannot be opened" in hooks.list()[0].said


@pytest.mark.parametrize(
    "url",
    ["ftp://x/", "file:///etc/passwd", "http://", "http://user:pw@x/", "http://x/\n", "x", "http://x:0/",
     "http://x/#y", "http://x/" + "y" * 3000],
)  # fmt: skip
def test_a_url_that_is_none_is_refused(workspace: Workspace, url: str) -> None:
    with pytest.raises(InvalidNameError):
        hooks_of(workspace).add(url, random=os.urandom)


def test_states_kinds_and_secrets_are_checked(workspace: Workspace, tmp_path: Path) -> None:
    hooks = hooks_of(workspace)
    wrongs: list[dict[str, Any]] = [
        {"states": ["done"]},
        {"states": []},
        {"kinds": ["a b"]},
        {"secret": b" "},
    ]
    for wrong in wrongs:
        with pytest.raises(InvalidNameError):
            hooks.add(URL, random=os.urandom, **wrong)
    with pytest.raises(NotFoundError, match="no hook 7"):
        hooks.delete(7)
    made, _ = hooks.add(URL, secret=b"mine", random=os.urandom)
    run_one(workspace)
    assert hooks.delete(made.id).waiting == 1
    assert (hooks.list(), hooks.take(1e9, lease_s=1)) == ([], [])
    assert b"mine" not in (workspace.root / "workspace.db").read_bytes()
