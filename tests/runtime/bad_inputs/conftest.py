"""One service, open to this machine, whose workspace has things and secrets."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry import Workspace
from runtime.portal.app import PortalApp
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.bad_inputs.asker import Asker
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
        self._asker = Asker(self.app)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; what is true of every answer is checked."""
        headers = {**self._owner, "cookie": self._cookie, **options.pop("headers", {})}
        response = self._asker.ask(method, path, headers=headers, **options)
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
        """As its page would, with what the page gave for it; anew, if a form before this one has
        ended the session."""
        answer = self.ask("POST", path, data={"csrf": self._csrf, **fields})
        is_signed_out = "/ui/sign-in" in answer.headers.get("location", "")
        if is_signed_out or answer.status_code in (401, 403):
            self.sign_in()
            answer = self.ask("POST", path, data={"csrf": self._csrf, **fields})
        return answer

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
        self._asker.close()
        self.app.close()

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
        if said := page.headers.get_list("set-cookie"):
            kept = [each for text in said for each in SimpleCookie(text).values()]
            self._cookie = "; ".join(f"{each.key}={each.value}" for each in kept)
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
