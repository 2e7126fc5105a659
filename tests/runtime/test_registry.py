"""``inferry registry``: tokens, and where it refuses to listen."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from registry import Workspace
from registry.errors import NotFoundError
from runtime.cli.registry import registry
from runtime.errors import BadValueError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty one."""
    return Workspace.init(tmp_path / "ws", base="none")


def _run(workspace: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(registry, [*arguments, "--workspace", str(workspace.root)])


def test_a_token_is_printed_once_and_listed_without_its_secret(workspace: Workspace) -> None:
    secret = _run(workspace, "token", "create", "ci", "--role", "contributor").output.strip()
    assert secret.startswith("ify_")
    made = _run(workspace, "token", "create", "device", "--expires-days", "1", "-o", "json").output
    assert json.loads(made)["role"] == "reader"
    listed = _run(workspace, "token", "list", "--output", "json").output
    assert secret not in listed
    assert [(token["name"], token["role"]) for token in json.loads(listed)] == [
        ("ci", "contributor"),
        ("device", "reader"),
    ]
    assert "Revoked ci" in _run(workspace, "token", "revoke", "ci").output
    assert json.loads(_run(workspace, "token", "list", "-o", "json").output)[0]["revoked_at"]
    assert isinstance(_run(workspace, "token", "revoke", "ci").exception, NotFoundError)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "token create"),
        (["--host", "no such host"], "token create"),
        (["--tls-cert", __file__], "both"),
        (["--tls-cert", __file__, "--tls-key", __file__], "cannot be used"),
    ],
)
def test_it_refuses_to_listen_where_it_must_not(
    workspace: Workspace, arguments: list[str], said: str
) -> None:
    error = _run(workspace, "serve", "--port", "0", *arguments).exception
    assert isinstance(error, BadValueError)
    assert said in str(error)


def test_a_port_that_is_taken_is_said(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = _run(workspace, "serve", "--port", port).exception
    assert isinstance(error, BadValueError)
    assert f"127.0.0.1:{port}" in str(error)
