"""Where a contributor may send the service: as a datastore that it is to look at."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry import Workspace
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.reach import hosts_of
from runtime.workspace_service.roles import Role
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.workspace_service.asked import ask

SFTP = {"user": "ada"}
S3 = {"bucket": "data"}
INSIDE: list[tuple[str, dict[str, str]]] = [
    *(
        ("sftp", {**SFTP, "host": host})
        for host in ("127.0.0.1", "169.254.169.254", "10.0.0.1", "0x7f.1", "2130706433", "::1")
    ),
    ("s3", {**S3, "endpoint": "http://169.254.169.254"}),
    ("s3", {**S3, "endpoint": "http://[::1]:9000"}),
    ("s3", {**S3, "endpoint": "http://[::ffff:7f00:1]:9000"}),
    ("s3", {**S3, "endpoint": "http://localhost:9000"}),
    # The bucket's name goes before the host.
    ("s3", {"bucket": "169.254.169", "endpoint": "http://254", "addressing": "virtual"}),
]


class _Asked:
    """A service with tokens."""

    def __init__(self, root: Path, *, allows_internal: bool = False) -> None:
        Workspace.init(root, base="none")
        self.site = Site({"default": root}, allows_internal=allows_internal)
        self.app = ServiceApp(self.site, ServiceConfig())

    def attach(self, role: Role, kind: str, settings: dict[str, str]) -> httpx.Response:
        """As somebody with a new token of this role."""
        tokens = self.site.distributions["default"].tokens
        secret = tokens.create(f"t{len(tokens.list())}", role, None)
        secrets = {"password": "eA=="} if kind == "sftp" else {}
        body: dict[str, Any] = {
            "name": "d",
            "kind": kind,
            "settings": settings,
            "secrets": secrets,
        }
        try:
            return ask(
                self.app,
                "POST",
                "/api/v1/workspaces/default/datastores",
                json=body,
                headers={"Authorization": f"Bearer {secret}"},
            )
        finally:
            self.app.close()


@pytest.mark.parametrize(("kind", "settings"), INSIDE, ids=str)
def test_a_contributor_sends_the_service_to_no_address_inside(
    tmp_path: Path, kind: str, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        raise AssertionError("it was connected to")

    monkeypatch.setattr("runtime.datastores.datastore.try_files", nothing)
    answer = _Asked(tmp_path / "ws").attach("contributor", kind, settings)
    assert answer.status_code == 403, answer.text
    assert "no public address" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("role", "allows"), [("owner", False), ("contributor", True)])
def test_an_owner_may_and_who_the_operator_lets(tmp_path: Path, role: Role, allows: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = {**SFTP, "host": "127.0.0.1", "port": str(port)}
    answer = _Asked(tmp_path / "ws", allows_internal=allows).attach(role, "sftp", settings)
    assert answer.status_code == 400, answer.text  # it was looked for, and nothing is there


def test_a_datastore_is_at_its_hosts() -> None:
    assert hosts_of("sftp", {"host": "h", "port": "2222"}) == [("h", 2222)]
    assert hosts_of("s3", {"bucket": "b"}) == []
    s3 = {"bucket": "b", "endpoint": "https://h/"}
    assert hosts_of("s3", s3) == [("h", 443)]
    assert hosts_of("s3", {**s3, "addressing": "virtual"}) == [("h", 443), ("b.h", 443)]
