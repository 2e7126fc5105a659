"""Who has no key that is good here, or comes from another site, gets nowhere, on any route."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from registry import Workspace
from registry.distribution import Distribution
from runtime.portal.app import PortalApp
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.bad_inputs.asker import Asker
from tests.runtime.bad_inputs.asking import TARGETS, Target
from tests.runtime.bad_inputs.leaks import leak_of

CLOSED = [target for target in TARGETS if not target.is_open]
CHANGING = [target for target in TARGETS if target.is_changing]
UNSAFE = ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW")
FOREIGN: tuple[Mapping[str, str], ...] = (
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": "evil.example"},
)


@dataclass(frozen=True)
class Closed:
    """``bad`` are keys by what is wrong with them; ``audit`` says how much was written down."""

    asker: Asker
    bad: Mapping[str, str]
    owner: str
    site: Site

    def ask(self, target: Target, method: str = "", **headers: str) -> httpx.Response:
        """With no fields."""
        if target.document is not None:
            headers.setdefault("Content-Type", "application/json")
        form = {"csrf": "0" * 64} if target.form else None
        answer = self.asker.ask(
            method or target.method, target.path(), headers=headers, content=b"{}", data=form
        )
        assert answer.status_code < 500
        assert leak_of(answer.text, [*self.bad.values(), self.owner]) is None
        return answer


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder: Path = tmp_path_factory.mktemp("doors")
    roots = {name: Workspace.init(folder / name, base="none").root for name in ("default", "two")}
    tokens = Distribution.open(roots["default"]).tokens
    past = Distribution.open(roots["default"], clock=lambda: 0.0).tokens
    revoked = tokens.create("gone", "owner", None)
    tokens.revoke("gone")
    other = Distribution.open(roots["two"]).tokens.create("ann", "owner", None)
    owner = tokens.create("ada", "owner", None)
    bad = {
        "revoked": f"Bearer {revoked}",
        "expired": f"Bearer {past.create('past', 'owner', 1)}",
        "of another workspace": f"Bearer {other}",
        "unknown": "Bearer ify_" + "x" * 43,
        "almost": f"Bearer {owner[:-1]}{'a' if owner[-1] != 'a' else 'b'}",
        "in capitals": f"Bearer {owner.upper()}",
        "of another scheme": f"Digest {owner}",
        "without a scheme": owner,
        "no base64": "Basic !!!",
        "as a name": f"Basic {base64.b64encode(f'{owner}:'.encode()).decode()}",
        "twice": f"Bearer {owner} {owner}",
        "long": "Bearer " + "x" * 60_000,
    }
    site = Site(roots)
    app = ServiceApp(site, ServiceConfig(), portal=PortalApp)
    asker = Asker(app)
    yield Closed(asker, bad, owner, site)
    site.closing.set()
    asker.close()
    app.close()


def test_a_key_that_is_good_opens(closed: Closed) -> None:
    """Else nothing below would show anything."""
    mine = {"authorization": f"Bearer {closed.owner}"}
    for path in ("/api/v1/info", "/v2/_catalog", "/api/2.0/mlflow/registered-models/search"):
        assert closed.asker.ask("GET", path, headers=mine).status_code == 200


@pytest.mark.parametrize("target", CLOSED, ids=lambda target: target.id)
def test_no_key_or_a_bad_one_opens_no_route(closed: Closed, target: Target) -> None:
    before = closed.site.audit("default").list(limit=1)
    for bad in ("", *closed.bad.values()):
        if bad == closed.bad["of another workspace"] and target.template in (
            "/api/v1/info",
            "/v2/",
        ):
            continue  # what is about the service takes anyone's; so does docker login
        answer = closed.ask(target, Authorization=bad) if bad else closed.ask(target)
        if target.id.startswith("portal") and target.method == "GET" and not target.is_stream:
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/ui/sign-in?next=")
        else:
            assert answer.status_code == 401, bad[:40]
            assert not target.id.startswith("api") or "www-authenticate" in answer.headers
    assert closed.site.audit("default").list(limit=1) == before


@pytest.mark.parametrize("target", CHANGING, ids=lambda target: target.id)
def test_another_site_changes_nothing_on_any_route(closed: Closed, target: Target) -> None:
    before = closed.site.audit("default").list(limit=1)
    for headers in FOREIGN:
        answer = closed.ask(target, Authorization=f"Bearer {closed.owner}", **headers)
        assert answer.status_code == 403, headers
    assert closed.site.audit("default").list(limit=1) == before


@pytest.mark.parametrize(
    "path", list(dict.fromkeys(target.template for target in TARGETS)), ids=lambda path: str(path)
)
def test_nor_does_it_by_a_method_that_nobody_thought_of(closed: Closed, path: str) -> None:
    """Ray's CVE-2026-27482 was a DELETE that the check of the others forgot."""
    known = [target for target in TARGETS if target.template == path]
    for method in UNSAFE:
        answer = closed.ask(
            known[0], method, Authorization=f"Bearer {closed.owner}", Origin="http://evil.example"
        )
        assert answer.status_code == 403, method
        if method not in {target.method for target in known}:
            answer = closed.ask(known[0], method, Authorization=f"Bearer {closed.owner}")
            # A path may be that of another route, too, which misses something then.
            assert answer.status_code in (400, 403, 404, 405, 415), (method, answer.status_code)
