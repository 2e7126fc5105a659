"""Webhooks of activities: signed, each at least once, whichever process dies."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from registry import Workspace
from runtime.activity_hooks import LEASE_S, deliver_due, deliveries, hooks_of
from runtime.cli.main import run
from runtime.hooks import signature
from tests.runtime.hooks.receivers import Got, Say, receiving

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "ws", base="none")


def run_one(workspace: Workspace) -> str:
    with workspace.activities.start("image", "web:1") as activity:
        return activity.id


def is_signed(got: Got, secret: bytes) -> bool:
    found = {name.lower(): value for name, value in got.headers.items()}
    at, id = int(found["webhook-timestamp"]), found["webhook-id"]
    signed = signature.signature(secret, id=id, at_unix_s=at, body=got.body)
    return found["webhook-signature"] == signed


def test_a_receiver_gets_a_signed_post_for_each_end(workspace: Workspace) -> None:
    with receiving() as receiver:
        _, secret = hooks_of(workspace).add(receiver.url, random=os.urandom)
        id = run_one(workspace)
        assert deliver_due(workspace) == 1
        assert deliver_due(workspace) == 0
    [got] = receiver.got
    assert (got.method, is_signed(got, secret), is_signed(got, b"other")) == ("POST", True, False)
    said = json.loads(got.body)
    assert (said["id"], said["state"], said["subject"]) == (id, "succeeded", "web:1")
    assert hooks_of(workspace).list()[0].waiting == 0


def test_what_is_refused_is_sent_again_with_the_same_id(workspace: Workspace) -> None:
    with receiving(Say(500, b"not yet"), Say(302, headers={"Location": "http://x/"}), Say()) as to:
        hooks_of(workspace).add(to.url, random=os.urandom)
        run_one(workspace)
        for at, told in ((1000.0, 0), (5000.0, 0), (9000.0, 1)):
            clock = iter([at] * 9).__next__
            assert deliver_due(workspace, clock=clock) == told
            assert deliver_due(workspace, clock=clock) == 0  # not before its time
    assert len({got.headers["Webhook-Id"] for got in to.got}) == 1
    assert len(to.got) == 3


def test_two_processes_do_not_send_at_the_same_time(workspace: Workspace) -> None:
    seen: list[int] = []

    def decide(got: Got) -> Say:
        seen.append(deliver_due(workspace))  # another, while the first one sends
        return Say()

    with receiving(decide=decide) as receiver:
        hooks_of(workspace).add(receiver.url, random=os.urandom)
        run_one(workspace)
        assert deliver_due(workspace) == 1
    assert seen == [0]


def test_one_that_is_killed_while_it_sends_is_followed_by_another(workspace: Workspace) -> None:
    with receiving() as receiver:
        hooks_of(workspace).add(receiver.url, random=os.urandom)
        run_one(workspace)
        child = os.fork()
        if child == 0:
            hooks_of(workspace).take(1000.0, lease_s=LEASE_S)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert deliver_due(workspace, clock=lambda: 1000.0 + LEASE_S - 1) == 0
        assert deliver_due(workspace, clock=lambda: 1000.0 + LEASE_S + 1) == 1


def test_a_process_that_runs_anyway_tells_of_what_died(workspace: Workspace) -> None:
    closing = threading.Event()
    with receiving() as receiver:
        hooks_of(workspace).add(receiver.url, states=["failed"], random=os.urandom)
        child = os.fork()
        if child == 0:
            with workspace.activities.start("image", "x"):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert 0 < deliveries(workspace, closing)() < 60
    assert json.loads(receiver.got[0].body)["state"] == "failed"


def test_one_that_ends_leaves_what_is_due_to_others(workspace: Workspace) -> None:
    with receiving() as receiver:
        hooks_of(workspace).add(receiver.url, random=os.urandom)
        run_one(workspace)
        assert deliver_due(workspace, is_ending=lambda: True) == 0
    assert receiver.got == []
    assert hooks_of(workspace).list()[0].waiting == 1


def test_hooks_by_the_command_line(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", str(workspace.root))
    (tmp_path / "secret").write_bytes(b"mine\n")
    with receiving() as receiver:
        add = ["activity", "hook", "add", receiver.url]
        assert run([*add, "--kind", "image", "--on", "succeeded", "-o", "json"]) == 0
        made = json.loads(capsys.readouterr().out)
        assert (made["kinds"], made["on"]) == (["image"], ["succeeded"])
        assert run([*add, "--secret", str(tmp_path / "secret")]) == 0
        assert "mine" not in capsys.readouterr().out
        run_one(workspace)
        assert run(["activity", "hook", "deliver"]) == 0
        assert capsys.readouterr().out == "Delivered 2; 0 wait\n"
        assert [is_signed(got, made["secret"].encode()) for got in receiver.got].count(True) == 1
        assert [is_signed(got, b"mine") for got in receiver.got].count(True) == 1
    assert run(["activity", "hook", "list"]) == 0
    assert made["secret"] not in capsys.readouterr().out
    assert run(["activity", "hook", "delete", "1"]) == 0
    assert run(["activity", "hook", "delete", "1"]) == 1
    assert run([*add, "--on", "done"]) == 1
    assert run(["activity", "hook", "add", "file:///etc/passwd"]) == 1
    assert "no http:// or https:// URL" in capsys.readouterr().err
