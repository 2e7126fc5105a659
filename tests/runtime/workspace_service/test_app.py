"""What the application does around the routes."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from registry import Workspace
from registry.activities import Activity
from registry.audit import Audit
from registry.errors import NotFoundError, RegistryError, WorkspaceBusyError
from runtime.portal.app import PortalApp
from runtime.portal.paths import url
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.binding import bind
from runtime.workspace_service.routes import activities
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.workspace_service.asked import ask

API = "/api/v1/workspaces/default"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    Workspace.init(tmp_path / "ws", base="none")
    return Site({"default": tmp_path / "ws"})


@contextmanager
def _served(site: Site) -> Iterator[ServiceApp]:
    app = ServiceApp(site, ServiceConfig())
    try:
        yield app
    finally:
        app.close()


class _FullAudit(Audit):
    """Takes the beginning of an entry, and not its end."""

    def end(self, id: int, status: int) -> None:
        """As where others write for a long time."""
        raise WorkspaceBusyError("others write; try again")


def test_what_is_done_is_said_to_be_done_whatever_becomes_of_the_audit_log(site: Site) -> None:
    audit = site.audits["default"]
    site.audits["default"] = _FullAudit(audit._database)
    with _served(site) as app:
        made = ask(app, "POST", f"{API}/experiments", json={"name": "digits"})
    assert made.status_code == 201  # not 503, which asks the client to do it again
    assert site.workspace("default").tracking.experiments.get("digits").name == "digits"
    assert [entry.status for entry in audit.list()] == [0]


def test_who_follows_is_told_nothing_any_more_once_the_token_is_revoked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities, "HEARTBEAT_S", 0.01)
    tokens = site.distributions["default"].tokens
    secret = tokens.create("ada", "reader", None)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()  # a client that stays
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        if b": still here" in message.get("body", b""):
            with suppress(NotFoundError):  # the second time
                tokens.revoke("ada")

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{API}/events",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"accept", b"text/event-stream"),
            (b"authorization", f"Bearer {secret}".encode()),
        ],
    }
    with _served(site) as app:
        try:
            asyncio.run(asyncio.wait_for(app(scope, receive, send), 60))
        finally:
            site.closing.set()
    assert sent[0]["status"] == 200
    assert not sent[-1]["more_body"]


def test_two_processes_with_one_token_make_images_of_the_same_script(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = b"def init(): ...\ndef run(data): return data\n"
    digest = f"sha256:{hashlib.sha256(script).hexdigest()}"
    order = {
        "models": [],
        "script": "score.py",
        "source": [{"path": "score.py", "digest": digest}],
    }
    begun = Activity("a" * 20, "image", "web", "running", "Waiting", 0, 0, None, "now", None)
    monkeypatch.setattr(site.jobs, "start", lambda _: begun)
    with _served(site) as app:
        sent = ask(
            app, "PUT", f"{API}/uploads/{digest}", params={"size": len(script)}, content=script
        )
        assert sent.json()["is_whole"]
        # Both have asked before that what is to be sent: nothing.
        for name in ("one", "two"):
            made = ask(app, "POST", f"{API}/images", json={"name": name, **order})
            assert made.status_code == 202, made.text


def test_what_an_activity_says_names_no_folder_of_the_machine(site: Site) -> None:
    workspace = site.workspace("default")
    root = str(workspace.root)
    with suppress(RegistryError), workspace.activities.start("image", "web") as running:
        running.log(f"reading {root}/making/x/base.tar")
        raise RegistryError(f"base '{root}/making/x/base.tar' is cut off")
    log = workspace.activities.log(running.id)
    with _served(site) as app:
        for path in ("/activities", f"/activities/{running.id}", f"/activities/{running.id}/log"):
            answer = ask(app, "GET", f"{API}{path}")
            assert answer.status_code == 200
            assert root not in answer.text
            assert "base.tar" in answer.text
        assert len(answer.content) == len(log)  # the log's: a client resumes by it


def test_nor_does_the_portal(site: Site) -> None:
    workspace = site.workspace("default")
    root = str(workspace.root)
    with suppress(RegistryError), workspace.activities.start("image", "web") as running:
        running.log(f"reading {root}/x/base.tar")
        raise RegistryError(f"base '{root}/x/base.tar' is cut off")
    app = ServiceApp(site, ServiceConfig(), portal=PortalApp)
    try:
        for place in (
            url("overview", workspace="default"),
            url("activities", workspace="default"),
            url("activity", workspace="default", id=running.id),
        ):
            answer = ask(app, "GET", place, follow_redirects=True)
            assert answer.status_code == 200, place
            assert root not in answer.text, place
        assert answer.text.count("base.tar") >= 2
    finally:
        app.close()


def test_only_paths_of_the_api_mean_its_routes(site: Site) -> None:
    with _served(site) as app:
        assert ask(app, "GET", "/api/v1/info").status_code == 200
        for path in ("/info", "/api/v1info", "/x/api/v1/info"):
            assert ask(app, "GET", path).status_code == 404, path


def test_a_large_body_is_not_read_in_the_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def seen(*args: Any) -> dict[str, Any]:
        names.append(threading.current_thread().name)
        return bind(*args)

    monkeypatch.setattr("runtime.workspace_service.app.bind", seen)
    tags = {f"t{n}": "x" * 500 for n in range(200)}
    with _served(site) as app:
        made = ask(app, "POST", f"{API}/experiments", json={"name": "digits", "tags": tags})
    assert made.status_code == 201
    assert [name.startswith("api") for name in names] == [True]
