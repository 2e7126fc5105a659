"""Hooks and external scalers as they are declared and shown, without a controller."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.deployments import Hooks, Observed
from runtime.cli.up import place_of
from runtime.deployments.memory import Memory, memory_text
from runtime.errors import BadValueError
from runtime.hooks.running import HookNote
from tests.runtime.conftest import Cli
from tests.runtime.test_deployment import assert_refused, shown

URL = "https://ops.example/scale?team=a"


def declared(workspace: Workspace) -> Hooks:
    return workspace.deployments.get("web").service.hooks


@pytest.fixture
def web(cli: Cli, images: Workspace) -> Workspace:
    """With the deployment ``web`` of adder:1."""
    done = cli("deploy", "web", "--image", "adder:1", "--no-wait")
    assert done.code == 0, done.stderr
    return images


def test_hooks_are_declared_changed_and_taken_away(cli: Cli, images: Workspace) -> None:
    Path("key").write_bytes(b"whsec_c2VjcmV0\n")
    done = cli(
        *("deploy", "web", "--image", "adder:1", "--no-wait", "--hook-timeout-s", "20"),
        *("--before-scale-webhook", URL, "--after-scale-command", "true --for 'a team' '$HOME'"),
        *("--hook-secret", "key"),
    )
    assert done.code == 0, done.stderr
    program = shutil.which("true")
    assert program is not None
    assert declared(images) == Hooks(
        before_webhook=URL,
        after_command=(program, "--for", "a team", "$HOME"),
        timeout_s=20.0,
    )
    assert images.deployments.secrets("web") == {"hook-secret": b"whsec_c2VjcmV0\n"}
    (revision,) = images.deployments.get("web").revisions
    assert revision.settings.secrets == ()  # no replica has it

    done = cli("deployment", "update", "web", "--after-scale-webhook", "http://[::1]:1/")
    assert done.code == 0, done.stderr
    assert declared(images).before_webhook == URL
    assert declared(images).after_webhook == "http://[::1]:1/"
    done = cli(
        *("deployment", "update", "web", "--unset", "before-scale-webhook"),
        *("--unset", "after-scale-command", "--unset", "after-scale-webhook"),
    )
    assert done.code == 0, done.stderr
    assert declared(images) == Hooks(timeout_s=20.0)
    assert len(images.deployments.get("web").revisions) == 1


def test_a_command_of_this_folder_gets_its_whole_path(cli: Cli, web: Workspace) -> None:
    program = Path("told")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert cli("deployment", "update", "web", "--before-scale-command", "./told x").code == 0
    assert declared(web).before_command == (str(program.absolute()), "x")


@pytest.mark.parametrize(
    "option",
    [
        ("--before-scale-webhook", "file:///etc/passwd"),
        ("--before-scale-webhook", ""),
        ("--after-scale-webhook", "http://ada:secret@ops.example/"),
        ("--after-scale-webhook", "http://ops.example/\x1b[2J"),
        ("--before-scale-command", ""),
        ("--before-scale-command", "'unfinished"),
        ("--before-scale-command", "no-such-program-anywhere"),
        ("--before-scale-command", "/etc/passwd"),
        ("--after-scale-command", "/etc"),
        ("--after-scale-command", "\x1b[2J"),
        ("--hook-secret", "/no/such/file"),
        ("--hook-secret", "/dev/null"),
    ],
)
def test_hooks_that_could_not_run_are_refused_in_a_line(
    cli: Cli, images: Workspace, option: tuple[str, str]
) -> None:
    words = ["deploy", "web", "--image", "adder:1", "--no-wait", *option]
    assert_refused(cli(*words), words)
    assert images.deployments.list() == []


def test_a_refused_update_leaves_no_hook_secret(
    cli: Cli, web: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stdin:
        buffer = io.BytesIO(b"secret")

    monkeypatch.setattr(sys, "stdin", Stdin())
    words = ["deployment", "update", "web", "--hook-secret", "-", "--before-scale-webhook", "x:"]
    assert_refused(cli(*words), words)
    assert web.deployments.secrets("web") == {}


def test_show_says_what_came_of_hooks_and_no_secret(cli: Cli, web: Workspace) -> None:
    Path("key").write_bytes(b"very-secret")
    done = cli(
        *("deployment", "update", "web", "--before-scale-webhook", URL, "--hook-secret", "key")
    )
    assert done.code == 0, done.stderr
    note = HookNote("before", "webhook", "not_now", "a backup runs", 0.25, "2026-11-27T08:00:00Z")
    memory = memory_text(Memory(scale=1, hooks=(note,)))
    web.deployments.observe("web", Observed("running", None, None, 1, (), "", memory))
    said = cli("deployment", "show", "web").stdout
    assert "before webhook  not now in 0.25 s  2026-11-27T08:00:00Z: a backup runs" in said
    assert f"hooks.before_webhook = {URL}" in said
    assert "very-secret" not in said
    found: dict[str, Any] = shown(cli)
    assert found["hooks"] == [
        {
            "moment": "before",
            "kind": "webhook",
            "result": "not_now",
            "said": "a backup runs",
            "took_s": 0.25,
            "at": "2026-11-27T08:00:00Z",
        }
    ]


def test_without_hooks_show_says_nothing_of_them(cli: Cli, web: Workspace) -> None:
    assert "hook" not in cli("deployment", "show", "web").stdout
    assert shown(cli)["hooks"] == []


def test_an_external_scaler_is_declared_and_taken_away(cli: Cli, web: Workspace) -> None:
    done = cli("deployment", "scale", "web", "1..5", "--external", "https://scaler.example/web")
    assert done.code == 0, done.stderr
    assert "1..5 replicas, as https://scaler.example/web says" in done.stdout
    assert web.deployments.get("web").service.external_scale == "https://scaler.example/web"
    assert cli("deployment", "scale", "web", "2..5").code == 0
    service = web.deployments.get("web").service
    assert (service.least_replicas, service.external_scale) == (2, "https://scaler.example/web")
    done = cli("deployment", "scale", "web", "3")
    assert "has nothing to say while web has just 3" in done.stderr
    assert cli("deployment", "scale", "web", "--no-external").code == 0
    assert web.deployments.get("web").service.external_scale is None
    assert web.deployments.get("web").service.least_replicas == 3


def test_a_scale_of_nothing_is_usage_and_a_bad_url_is_refused(cli: Cli, web: Workspace) -> None:
    assert cli("deployment", "scale", "web").code == 2
    words = ["deployment", "scale", "web", "--external", "http://a/", "--no-external"]
    assert cli(*words).code == 2
    words = ["deployment", "scale", "web", "1..5", "--external", "ftp://a/"]
    assert_refused(cli(*words), words)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_where_to_listen(text: str, place: tuple[str, int]) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    "text", ["", "9464", ":9464", "a", "a:", "a:x", "a:65536", "::1:80", "[]:80", "a:-1", "a:٣"]
)
def test_where_nobody_can_listen(cli: Cli, text: str) -> None:
    with pytest.raises(BadValueError):
        place_of(text)
    for option in ("--listen", "--listen-keda"):
        words = ["up", option, text]
        assert_refused(cli(*words), words)
