"""One service, open to this machine, whose workspace has things and secrets."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry import Workspace
from runtime.portal.app import PortalApp
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.bad_inputs.beginning import begin
from tests.runtime.bad_inputs.leaks import leak_of

CANARY = "canary-7f3a91c2"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Service:
    """``folder`` has the workspaces, and nothing else that may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        roots = {name: folder / name for name in ("default", "other")}
        self.workspace = Workspace.open(roots["default"])
        self.site = Site(roots)
        self.app = ServiceApp(self.site, ServiceConfig(), portal=PortalApp)
        tokens = self.site.distributions["default"].tokens
        self._owner = {"authorization": f"Bearer {tokens.create('ada', 'owner', None)}"}
        self._before = self._outside()
        self._cookie = self._csrf = ""
        self._loop = asyncio.Runner()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; what is true of every answer is checked."""
        headers = {**self._owner, "cookie": self._cookie, **options.pop("headers", {})}
        asked = self._begun if options.pop("is_stream", False) else self._whole
        response = self._loop.run(asked(method, path, headers=headers, **options))
        told = response.content.decode("utf-8", "replace")
        where = (method, path[:300], options, told[:500])
        assert response.status_code < 500, where
        assert response.headers["x-content-type-options"] == "nosniff", where
        assert "default-src 'none'" in response.headers["content-security-policy"], where
        assert not any("\n" in value or "\r" in value for value in response.headers.values())
        hidden = (str(self.folder), CANARY)
        if response.status_code >= 400:
            assert leak_of(told, hidden) is None, (leak_of(told, hidden), *where)
        else:
            assert not any(word in told for word in hidden), where
        return response

    def send_form(self, path: str, fields: dict[str, str]) -> httpx.Response:
        """As its page would, with what the page gave for it."""
        self.sign_in()
        return self.ask("POST", path, data={"csrf": self._csrf, **fields})

    def check_unharmed(self) -> None:
        """It answers, has written nothing outside of its workspaces, and what it began has ended
        without a word of the machine."""
        assert self.ask("GET", "/api/v1/info").json()["role"] == "owner"
        assert self._outside() == self._before
        assert self.workspace.models.get("m:1").tags == {}
        end = time.monotonic() + 60
        while running := self.workspace.activities.list(running_only=True):
            assert time.monotonic() < end, running
            time.sleep(0.05)
        for name in ("activities", "targets", "datastores", "deployments", "runs", "ledger"):
            self.ask("GET", f"/api/v1/workspaces/default/{name}")

    def close(self) -> None:
        """End it."""
        self.site.closing.set()
        self._loop.run(self._client.aclose())
        self._loop.close()
        self.app.close()

    async def _whole(self, method: str, path: str, **options: Any) -> httpx.Response:
        self._client.cookies.clear()
        return await self._client.request(method, path, **options)

    async def _begun(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await begin(self.app, httpx.Request(method, f"http://127.0.0.1{path}", **options))

    def sign_in(self) -> None:
        """A session of the owner's; a form may have ended the one before."""
        if self._cookie and self.ask("GET", "/ui/w/default/models").status_code == 200:
            return
        self._cookie = ""
        self._take(self.ask("GET", "/ui/sign-in"))
        token = self._owner["authorization"].removeprefix("Bearer ")
        given = {"csrf": self._csrf, "token": token}
        self._take(self.ask("POST", "/ui/sign-in", data=given))
        self._take(self.ask("GET", "/ui/w/default/tokens"))

    def _take(self, page: httpx.Response) -> None:
        """What a browser keeps of a page."""
        if page.cookies:
            self._cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
        if (found := _CSRF.search(page.text)) is not None:
            self._csrf = found[1]

    def _outside(self) -> set[str]:
        """All paths beside the workspaces, and the names at their tops."""
        found = {str(path) for path in self.folder.rglob("*") if path.parent == self.folder}
        found |= {str(path) for path in (self.folder / "outside").rglob("*")}
        return found | {p for p in ("/tmp/outside", "/outside", "outside") if Path(p).exists()}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("bad")
    for name in ("default", "other"):
        Workspace.init(folder / name, base="none")
    (folder / "outside").mkdir()
    workspace = Workspace.open(folder / "default")
    weights = folder / "outside/w.txt"
    weights.write_bytes(b"weights")
    workspace.models.register(weights, name="m")
    workspace.datastores.attach(
        "s", "sftp", {"host": "files.example", "user": "ada"},
        {"password": CANARY.encode()},
    )  # fmt: skip
    made = Service(folder)
    made.sign_in()
    yield made
    made.close()
