"""What is declared, without a controller: the workspace is written as the commands say."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.deployments import Observed, Replica
from runtime.deployments.controller import only_controller
from tests.runtime.conftest import Cli
from tests.runtime.server import Done

HOSTILE = "\x1b[2J\x1b]0;x\x07"


@pytest.fixture
def web(cli: Cli, images: Workspace) -> Workspace:
    """With the deployment ``web`` of adder:1."""
    done = cli("deploy", "web", "--image", "adder:1", "--no-wait")
    assert done.code == 0, done.stderr
    return images


def shown(cli: Cli, name: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("deployment", "show", name, "-o", "json").stdout)
    return found


def settings(cli: Cli, number: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = shown(cli)["revisions"][number]["settings"]
    return found


def saw(workspace: Workspace, state: str, cause: str | None = None, log: str = "") -> None:
    """As a controller would have."""
    found = workspace.deployments.get("web")
    replicas = (
        Replica("web.1.aa", 1, "ready", "127.0.0.1:5"),
        Replica("web.1.bb", 1, "failed", cause=cause or "", log=log),
    )
    url = "http://127.0.0.1:9/score"
    workspace.deployments.observe(
        "web",
        Observed(state, cause, url, found.change, replicas, "2026-11-27T00:00:00Z"),  # type: ignore[arg-type]
    )


def assert_refused(done: Done, words: list[str]) -> None:
    """In one line, which is short and moves no cursor."""
    assert (done.code, done.stdout) == (1, ""), words
    assert done.stderr.count("\n") == 1, (words, done.stderr[:500])
    assert "internal error" not in done.stderr, (words, done.stderr[:500])
    assert len(done.stderr) < 500
    assert "\x1b" not in done.stderr


# Making and seeing.


def test_a_deployment_is_declared_with_all_that_is_said(cli: Cli, images: Workspace) -> None:
    Path("token").write_bytes(b"\0secret\xff")
    done = cli(
        *("deploy", "web", "--image", "adder", "--replicas", "1..5", "--host", "::1"),
        *("--port", "8443", "--keys", "--sticky-header", "x-user", "--env", "A=b=c"),
        *("--env", "EMPTY=", "--secret", "token=token", "--cpus", "0.5", "--memory", "512MiB"),
        *("--start-s", "30", "--workers", "2", "--max-batch", "8", "--deadline-ms", "50"),
        *("--step", "10", "--step", "100", "--step-s", "5", "--max-error-share", "0.1"),
        *("--max-p99-ratio", "3", "--no-wait", "-o", "json"),
    )
    assert done.code == 0, done.stderr
    made = json.loads(done.stdout)
    seen = {"shadows": [], "came_from": ["image adder:2", "model adder:2"]}
    assert {**made, **seen} == shown(cli)
    assert (made["image"], made["target"], made["state"]) == ("adder:2", "local", "unknown")
    assert made["service"] | {"autoscale": None} == {
        "host": "::1",
        "port": 8443,
        "tls_certificate": None,
        "is_keyed": True,
        "sticky_header": "x-user",
        "least_replicas": 1,
        "most_replicas": 5,
        "autoscale": None,
        "rollout": {
            "steps": [10, 100],
            "step_s": 5,
            "max_error_share": 0.1,
            "max_p99_ratio": 3,
            "least_requests": 20,
        },
        "hooks": {
            "before_webhook": None,
            "before_command": [],
            "after_webhook": None,
            "after_command": [],
            "timeout_s": 5,
        },
        "external_scale": None,
    }
    assert settings(cli) == {
        "environment": {"A": "b=c", "EMPTY": ""},
        "secrets": ["token"],
        "resources": {"cpus": 0.5, "memory_bytes": 512 << 20},
        "health": {"start_s": 30, "interval_s": 1, "failures": 3},
        "workers": 2,
        "max_batch": 8,
        "deadline_ms": 50,
    }
    assert images.deployments.secrets("web") == {"token": b"\0secret\xff"}


def test_a_name_that_is_taken_is_refused_and_update_named(cli: Cli, web: Workspace) -> None:
    done = cli("deploy", "web", "--image", "adder:2", "--no-wait")
    assert (done.code, done.stdout) == (1, "")
    assert "inferry deployment update web" in done.stderr
    assert shown(cli)["image"] == "adder:1"


def test_the_list_says_how_each_is(cli: Cli, web: Workspace) -> None:
    cli("deployment", "scale", "web", "2..3")
    saw(web, "degraded", "1 of 2 replicas do not answer")
    header, line = cli("deployment", "list").stdout.splitlines()
    assert header.split() == ["NAME", "STATE", "IMAGE", "TARGET", "REPLICAS", "URL"]
    assert line.split() == [
        *("web", "degraded", "adder:1", "local", "1/2..3"),
        "http://127.0.0.1:9/score",
    ]
    (found,) = json.loads(cli("deployment", "list", "-o", "json").stdout)
    assert found["cause"] == "1 of 2 replicas do not answer"


def test_show_has_cause_and_last_words_and_nothing_that_moves_a_cursor(
    cli: Cli, web: Workspace
) -> None:
    saw(web, "degraded", f"it ended {HOSTILE}", log=f"Traceback\nKeyError: {HOSTILE}")
    done = cli("deployment", "show", "web")
    assert "  | KeyError" in done.stdout
    assert "it ended" in done.stdout
    assert "\x1b" not in done.stdout + cli("deployment", "list").stdout


def test_no_command_shows_a_secret_or_a_key(cli: Cli, images: Workspace) -> None:
    Path("token").write_text("hush-hush")
    cli("deploy", "web", "--image", "adder:1", "--secret", "t=token", "--keys", "--no-wait")
    cli("deployment", "secret", "set", "web", "t", "token")
    keys = images.deployments.keys("web").values()
    for words in (["show", "web"], ["list"], ["ledger"], ["ledger", "web"]):
        for output in ("table", "json"):
            said = cli("deployment", *words, "-o", output).stdout
            assert "web" in said
            assert not [hidden for hidden in ("hush-hush", *keys) if hidden in said]


def test_whoever_declares_without_a_controller_is_told(cli: Cli, web: Workspace) -> None:
    for words in (["scale", "web", "2"], ["update", "web", "--image", "adder:2"], ["list"]):
        done = cli("deployment", *words)
        assert (done.code, "inferry up" in done.stderr) == (0, True)
        with only_controller(web.root):
            assert cli("deployment", *words).stderr == ""


# Changing.


def test_an_update_changes_only_what_is_given(cli: Cli, images: Workspace) -> None:
    Path("token").write_text("x")
    cli(
        *("deploy", "web", "--image", "adder:1", "--env", "A=1", "--env", "B=2", "--keys"),
        *("--memory", "1g", "--cpus", "2", "--secret", "t=token", "--port", "8443", "--no-wait"),
    )
    before = shown(cli)
    done = cli("deployment", "update", "web", "--env", "A=", "--env", "C=3", "--secret", "u=token")
    assert done.code == 0, done.stderr
    after = settings(cli)
    assert after["environment"] == {"B": "2", "C": "3"}
    assert after["secrets"] == ["t", "u"]
    assert after["resources"] == {"cpus": 2, "memory_bytes": 1 << 30}
    assert shown(cli)["service"] == before["service"]
    assert (shown(cli)["goal"], shown(cli)["image"]) == (2, "adder:1")
    cli("deployment", "update", "web", "--unset", "memory", "--no-keys", "--secret", "t=")
    assert settings(cli)["resources"] == {"cpus": 2, "memory_bytes": None}
    assert settings(cli)["secrets"] == ["u"]
    assert shown(cli)["service"] == before["service"] | {"is_keyed": False}


def test_an_update_to_the_same_makes_no_revision(cli: Cli, web: Workspace) -> None:
    assert cli("deployment", "update", "web", "--image", "adder:1").code == 0
    assert cli("deployment", "update", "web").code == 0
    assert len(shown(cli)["revisions"]) == 1
    assert cli("deployment", "update", "web", "--port", "0", "--step-s", "3").code == 0
    assert len(shown(cli)["revisions"]) == 1
    assert shown(cli)["service"]["rollout"]["step_s"] == 3


def test_a_secret_with_another_value_makes_no_revision_and_that_is_said(
    cli: Cli, web: Workspace
) -> None:
    for value, number, is_said in (("a", 2, False), ("b", 2, True)):
        Path("token").write_text(value)
        done = cli("deployment", "update", "web", "--secret", "t=token")
        assert (shown(cli)["goal"], "keep the secret" in done.stderr) == (number, is_said)
        assert web.deployments.secrets("web") == {"t": value.encode()}


def test_a_refused_update_leaves_no_secret(cli: Cli, web: Workspace) -> None:
    Path("token").write_text("x")
    done = cli("deployment", "update", "web", "--secret", "t=token", "--env", "PATH=/")
    assert (done.code, "PATH" in done.stderr) == (1, True)
    assert shown(cli)["secrets"] == []


def test_rollback_takes_number_image_digest_and_nothing(cli: Cli, web: Workspace) -> None:
    cli("deployment", "update", "web", "--image", "adder:2")
    cli("deployment", "update", "web", "--env", "A=1")
    digests = [each["digest"] for each in shown(cli)["revisions"]]
    for to, goal in (
        ([], 2),
        (["1"], 1),
        (["3"], 3),
        (["adder:1"], 1),
        ([digests[1]], 3),
        ([digests[0][:20]], 1),
        ([digests[0].removeprefix("sha256:")[:8]], 1),
    ):
        done = cli("deployment", "rollback", "web", *to)
        assert (done.code, shown(cli)["goal"]) == (0, goal), (to, done.stderr)


def test_traffic_is_split_and_shadowed(cli: Cli, web: Workspace) -> None:
    cli("deployment", "update", "web", "--image", "adder:2")
    done = cli("deployment", "traffic", "web", "1=100", "--shadow", "2=50")
    assert done.code == 0, done.stderr
    assert shown(cli)["traffic"] == [
        {"revision": 1, "percent": 100, "is_shadow": False},
        {"revision": 2, "percent": 50, "is_shadow": True},
    ]
    done = cli("deployment", "traffic", "web", "1=90.5", "2=9.5")
    assert done.stdout == "revision 1 (adder:1): 90.5 %\nrevision 2 (adder:2): 9.5 %\n"


def test_a_new_revision_may_begin_as_a_shadow(cli: Cli, web: Workspace) -> None:
    refused = cli("deployment", "update", "web", "--image", "adder:2", "--shadow", "10")
    assert (refused.code, refused.stderr.count("\n")) == (1, 1)
    assert cli("deployment", "traffic", "web", "1=100").code == 0
    done = cli("deployment", "update", "web", "--image", "adder:2", "--shadow", "10")
    assert (done.code, done.stdout) == (0, "revision 2 (adder:2): 10 %, a copy of it\n")
    found = shown(cli)
    assert found["goal"] == 1
    assert [each["is_shadow"] for each in found["traffic"]] == [False, True]
    for odd in ("0", "101", "x", "nan"):
        assert cli("deployment", "update", "web", "--image", "adder:2", "--shadow", odd).code == 2


def test_a_dropped_revision_frees_its_image(cli: Cli, web: Workspace) -> None:
    cli("deployment", "update", "web", "--image", "adder:2")
    done = cli("image", "delete", "adder:1")
    assert (done.code, "web" in done.stderr) == (1, True)
    assert cli("deployment", "revision", "drop", "web", "2").code == 1
    assert cli("deployment", "revision", "drop", "web", "1").code == 0
    assert cli("deployment", "revision", "drop", "web", "1").code == 1
    assert cli("image", "delete", "adder:1").code == 0


def test_what_is_deleted_takes_no_more_orders(cli: Cli, web: Workspace) -> None:
    assert cli("deployment", "delete", "web").code == 0
    assert shown(cli)["state"] == "stopping"
    assert cli("deployment", "delete", "web").code == 0
    for words in (["scale", "web", "2"], ["update", "web"], ["rollback", "web", "1"]):
        done = cli("deployment", *words)
        assert (done.code, "being deleted" in done.stderr) == (1, True)


# Keys and secrets.


def test_one_key_is_made_anew_and_the_other_stays(cli: Cli, web: Workspace) -> None:
    before = json.loads(cli("deployment", "keys", "web", "-o", "json").stdout)
    done = cli("deployment", "keys", "web", "--regenerate", "primary", "-o", "json")
    after = json.loads(done.stdout)
    assert set(before) == {"primary", "secondary"}
    assert after["secondary"] == before["secondary"]
    assert after["primary"] not in before.values()
    assert "asks for no key" in cli("deployment", "keys", "web").stderr


def test_a_secret_comes_from_a_file_or_standard_input(
    cli: Cli, web: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("token").write_bytes(b"\xff\0")
    assert cli("deployment", "secret", "set", "web", "a", "token").code == 0
    for words in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"typed")))
        assert cli("deployment", "secret", "set", "web", "b", *words).code == 0
        assert web.deployments.secrets("web") == {"a": b"\xff\0", "b": b"typed"}
    assert cli("deployment", "secret", "remove", "web", "b").code == 0
    assert cli("deployment", "secret", "remove", "web", "b").code == 1
    cli("deployment", "update", "web", "--secret", "a=token")
    done = cli("deployment", "secret", "remove", "web", "a")
    assert (done.code, "revision 2" in done.stderr) == (1, True)


# The ledger.


def test_the_ledger_says_who_did_what(
    cli: Cli, web: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_ACTOR", "ada")
    cli("deployment", "scale", "web", "2")
    cli("deployment", "traffic", "web", "1=100")
    cli("deployment", "delete", "web")
    web.deployments.forget("web")
    found = json.loads(cli("deployment", "ledger", "web", "-o", "json").stdout)
    assert [(each["event"], each["actor"]) for each in found[1:]] == [
        ("changed", "ada"),
        ("live", "ada"),
        ("deleted", "ada"),
    ]
    assert found[0]["event"] == "created"
    assert "@" in found[0]["actor"]
    assert cli("deployment", "ledger").stdout.count("\n") == 5
    assert cli("deployment", "ledger", "nobody").code == 1


def test_the_ledger_knows_what_was_live(cli: Cli, web: Workspace) -> None:
    cli("deployment", "traffic", "web", "1=100")
    (now,) = json.loads(
        cli("deployment", "ledger", "web", "--at", "9000-01-01", "-o", "json").stdout
    )
    assert (now["revision"], now["percent"], now["image"].split("@")[0]) == (1, 100, "adder:1")
    done = cli("deployment", "ledger", "--at", now["since"], "-o", "json")
    assert json.loads(done.stdout) == [now]
    done = cli("deployment", "ledger", "--at", "2020-01-01T00:00:00+02:00")
    assert (done.code, "2019-12-31T22:00:00Z" in done.stderr) == (0, True)


@pytest.mark.parametrize("actor", ["\x1b[2J", "a\nb", "a" * 257, "\u202e"])
def test_an_actor_must_be_printable(
    cli: Cli, web: Workspace, monkeypatch: pytest.MonkeyPatch, actor: str
) -> None:
    monkeypatch.setenv("INFERRY_ACTOR", actor)
    done = cli("deployment", "scale", "web", "2")
    assert (done.code, done.stderr.count("\n"), "INFERRY_ACTOR" in done.stderr) == (1, 1, True)
    assert shown(cli)["service"]["most_replicas"] == 1


# What cannot be.


NO_DECLARATION: list[list[str]] = [
    ["--env", "A"],
    ["--env", "=x"],
    ["--env", "A=1", "--env", "A=2"],
    ["--env", "A=" + "x" * 10_000_000],
    ["--env", "1A=x"],
    ["--env", "PATH=/tmp"],
    ["--env", f"{HOSTILE}=x"],
    *([f"--env=V{number}=x" for number in range(257)],),
    ["--secret", "t"],
    ["--secret", "t=not-there"],
    ["--secret", "t=."],
    ["--secret", "t=/dev/zero"],
    ["--secret", "../t=token"],
    ["--secret", f"{HOSTILE}=token"],
    ["--secret", "t=token", "--secret", "t=token"],
    ["--memory", "lots"],
    ["--memory", "1"],
    ["--memory", "9" * 400 + "g"],
    ["--sticky-header", "a b"],
    ["--sticky-header", ""],
    ["--host", "a b"],
    ["--host", HOSTILE],
    ["--tls-cert", "not-there.pem"],
    ["--tls-cert", "token"],
    ["--step", "10"],
    ["--step", "50", "--step", "10", "--step", "100"],
    ["--replicas", "0"],
    ["--replicas", "1..1001"],
    ["--target", "nowhere"],
    ["--target", HOSTILE],
    ["--image", "adder:3"],
    ["--image", "nothing"],
    ["--image", HOSTILE],
]


def test_what_cannot_be_declared_is_refused_in_a_line(cli: Cli, images: Workspace) -> None:
    Path("token").write_text("x")
    for options in NO_DECLARATION:
        image = [] if "--image" in options else ["--image", "adder:1"]
        done = cli("deploy", "web", *image, "--no-wait", *options)
        assert_refused(done, options)
        assert images.deployments.list() == []


NO_USAGE: list[list[str]] = [
    ["--replicas", "5..1"],
    ["--replicas", "-1"],
    ["--replicas", "x"],
    ["--replicas", "1..x"],
    ["--replicas", "٣"],
    ["--replicas", "9" * 5000],
    ["--cpus", "nan"],
    ["--cpus", "inf"],
    ["--cpus", "0"],
    ["--step", "nan"],
    ["--step", "101"],
    ["--step-s", "nan"],
    ["--max-error-share", "nan"],
    ["--max-p99-ratio", "inf"],
    ["--deadline-ms", "nan"],
    ["--start-s", "nan"],
    ["--timeout-s", "nan"],
    ["--timeout-s", "0"],
    ["--port", "65536"],
    ["--workers", "0"],
]


def test_what_means_nothing_is_usage(cli: Cli, images: Workspace) -> None:
    for options in NO_USAGE:
        done = cli("deploy", "web", "--image", "adder:1", "--no-wait", *options)
        assert (done.code, done.stdout) == (2, ""), options
        assert len(done.stderr) < 1000
        assert images.deployments.list() == []


def test_a_name_that_no_host_could_have_is_refused(cli: Cli, images: Workspace) -> None:
    for name in ["", "Web", "a.b", "../a", "a" * 33, "-a", "a-", HOSTILE, "1"]:
        assert_refused(cli("deploy", "--image", "adder:1", "--no-wait", "--", name), [name])
        assert images.deployments.list() == []


NO_CHANGE: list[list[str]] = [
    ["scale", "web", "0"],
    ["scale", "nobody", "1"],
    ["rollback", "web"],
    ["rollback", "web", "7"],
    ["rollback", "web", "sha256:"],
    ["rollback", "web", "sha256:00"],
    ["rollback", "web", ""],
    ["rollback", "web", "x" * 1_000_000],
    ["rollback", "web", HOSTILE],
    ["rollback", "web", "latest"],
    ["traffic", "web", "1"],
    ["traffic", "web", "1=nan"],
    ["traffic", "web", "1=99"],
    ["traffic", "web", "1=101"],
    ["traffic", "web", "2=100"],
    ["traffic", "web", "1=50", "1=50"],
    ["traffic", "web", "1=100", "--shadow", "1=50"],
    ["traffic", "web", HOSTILE],
    ["traffic", "nobody", "1=100"],
    ["update", "web", "--env", "A"],
    ["update", "web", "--image", "adder:9"],
    ["update", "nobody", "--image", "adder:2"],
    ["update", "web", "--tls-cert", "not-there"],
    ["delete", "nobody"],
    ["delete", HOSTILE],
    ["keys", "nobody"],
    ["secret", "set", "web", "t", "not-there"],
    ["secret", "set", "web", "t", "/dev/zero"],
    ["secret", "set", "web", "../t", "token"],
    ["secret", "set", "nobody", "t", "token"],
    ["secret", "remove", "web", "t"],
    ["revision", "drop", "web", "1"],
    ["revision", "drop", "web", "9"],
    ["ledger", "nobody"],
    ["ledger", "web", "--at", "yesterday"],
    ["ledger", "web", "--at", "0001-01-01T00:00:00+14:00"],
    ["ledger", "web", "--at", HOSTILE],
    ["show", "nobody"],
    ["show", HOSTILE],
]


def test_what_cannot_be_changed_is_refused_in_a_line(cli: Cli, web: Workspace) -> None:
    Path("token").write_text("x")
    before = shown(cli)
    for words in NO_CHANGE:
        assert_refused(cli("deployment", *words), words)
        assert shown(cli) == before


def test_nothing_of_it_needs_more_than_a_workspace(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / ".inferry").rename(tmp_path / "away")
    done = cli("deployment", "list")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
