"""Where a contributor may send the service: as a datastore that it is to look at."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry import Workspace
from registry.remote import addresses
from runtime.datastores import Datastore as Opened
from runtime.datastores import InsideError
from runtime.datastores.reach import Resolve
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.roles import Role
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.datastores.evil import evil_s3, listing
from tests.runtime.datastores.outside import PUBLIC, Rebinding, inside, internet
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

    def __init__(
        self, root: Path, *, allows_internal: bool = False, resolve: Resolve = addresses.resolve
    ) -> None:
        Workspace.init(root, base="none")
        self.site = Site({"default": root}, allows_internal=allows_internal, resolve=resolve)
        self.app = ServiceApp(self.site, ServiceConfig())

    @property
    def workspace(self) -> Workspace:
        """Behind it."""
        return self.site.workspace("default")

    def attach(
        self, role: Role, kind: str, settings: dict[str, str], *, replace: bool = False
    ) -> httpx.Response:
        """As somebody with a new token of this role."""
        tokens = self.site.distributions["default"].tokens
        secret = tokens.create(f"t{len(tokens.list())}", role, None)
        secrets = {"password": "eA=="} if kind == "sftp" else {}
        body: dict[str, Any] = {
            "name": "d",
            "kind": kind,
            "settings": settings,
            "secrets": secrets,
            "replace": replace,
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
    reached = internet(monkeypatch, None)
    answer = _Asked(tmp_path / "ws").attach("contributor", kind, settings)
    assert answer.status_code == 403, answer.text
    assert "no public address" in answer.json()["error"]["message"]
    assert reached == []


@pytest.mark.parametrize(("role", "allows"), [("owner", False), ("contributor", True)])
def test_an_owner_may_and_who_the_operator_lets(tmp_path: Path, role: Role, allows: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = {**SFTP, "host": "127.0.0.1", "port": str(port)}
    answer = _Asked(tmp_path / "ws", allows_internal=allows).attach(role, "sftp", settings)
    assert answer.status_code == 400, answer.text  # it was looked for, and nothing is there


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("sftp", {**SFTP, "host": "turning.example"}),
        ("sftp", {**SFTP, "host": "turning.example", "host_key": f"SHA256:{43 * 'A'}"}),
        ("s3", {**S3, "endpoint": "http://turning.example"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("answers", [[[PUBLIC], ["127.0.0.1"]], [["127.0.0.1"], [PUBLIC]]])
def test_a_name_that_changes_its_meaning_brings_nobody_inside(
    tmp_path: Path,
    kind: str,
    settings: dict[str, str],
    answers: list[Sequence[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached = internet(monkeypatch, None)
    with inside() as here:
        if kind == "sftp":
            settings = {**settings, "port": str(here.port)}
        else:
            settings = {**settings, "endpoint": f"{settings['endpoint']}:{here.port}"}
        asked = _Asked(tmp_path / "ws", resolve=Rebinding(answers))
        for _ in range(3):
            assert asked.attach("contributor", kind, settings).status_code in (400, 403)
        assert not here.was_connected
    assert set(reached) == {PUBLIC}


def test_what_a_contributor_attached_stays_outside_and_what_an_owner_did_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = internet(monkeypatch, "127.0.0.1")
    asked = _Asked(tmp_path / "ws", resolve=Rebinding([[PUBLIC]]))
    with evil_s3() as evil:
        evil.answer = lambda method, path: listing()
        settings = {**S3, "endpoint": f"http://outside.example:{evil.port}"}
        answer = asked.attach("contributor", "s3", settings)
        assert (answer.status_code, answer.json()["settings"]["reach"]) == (201, "public")
        assert set(reached) == {PUBLIC}
        turned = Rebinding([["127.0.0.1"]])
        with Opened.get(asked.workspace, "d", resolve=turned) as datastore:
            evil.requests.clear()
            with pytest.raises(InsideError):
                datastore.ls()
            assert not evil.requests
        answer = asked.attach("owner", "s3", {**S3, "endpoint": evil.endpoint}, replace=True)
        assert (answer.status_code, "reach" in answer.json()["settings"]) == (201, False)
        with Opened.get(asked.workspace, "d", resolve=turned) as datastore:
            assert datastore.ls() == []
            assert evil.requests


def test_a_contributor_does_not_take_the_bound_away(tmp_path: Path) -> None:
    asked = _Asked(tmp_path / "ws")
    for reach in ("any", "private", ""):
        answer = asked.attach("contributor", "sftp", {**SFTP, "host": "127.0.0.1", "reach": reach})
        assert answer.status_code == 400, answer.text
        assert "reach" in answer.json()["error"]["message"]
