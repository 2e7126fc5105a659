"""Every route, asked by everyone: generated from the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from registry import Workspace
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.roles import ROLES, Role
from runtime.workspace_service.route import Route
from runtime.workspace_service.routes import TABLE
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.workspace_service.asked import ask


@dataclass(frozen=True)
class Closed:
    """A service of two workspaces that want tokens; ``tokens`` are of the first, ``others`` of the
    second."""

    app: ServiceApp
    site: Site
    tokens: Mapping[Role, str]
    others: Mapping[Role, str]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Closed:
    folder = tmp_path_factory.mktemp("site")
    roots: dict[str, Path] = {}
    for name in ("default", "other"):
        roots[name] = folder / name
        Workspace.init(roots[name], base="none")
    site = Site(roots)
    secrets: list[dict[Role, str]] = [
        {role: each.tokens.create(role, role, None) for role in ROLES}
        for each in site.distributions.values()
    ]
    return Closed(ServiceApp(site, ServiceConfig()), site, *secrets)


def _url(route: Route) -> str:
    path = TABLE.template(route).replace("{workspace}", "default")
    for name in route.path_names:
        path = path.replace("{" + name + ":path}", "x").replace("{" + name + "}", quote("x:1"))
    return path


def _ask(closed: Closed, route: Route, token: str | None, **headers: str) -> int:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return ask(closed.app, route.method, _url(route), headers=headers).status_code


ids = [route.name for route in TABLE.routes]


@pytest.mark.parametrize("route", TABLE.routes, ids=ids)
def test_who_may_ask_may_and_nobody_else(closed: Closed, route: Route) -> None:
    for role in ROLES:
        status = _ask(closed, route, closed.tokens[role])
        may = ROLES.index(role) >= ROLES.index(route.role)
        assert (status not in (401, 403)) == may, (role, status)
        assert status != 500, role


@pytest.mark.parametrize("route", TABLE.routes, ids=ids)
def test_without_a_token_that_is_good_here_nothing_answers(closed: Closed, route: Route) -> None:
    assert _ask(closed, route, None) == 401
    assert _ask(closed, route, "ify_" + "x" * 43) == 401
    assert _ask(closed, route, "") == 401
    if route in TABLE.of_workspace:  # what is about the service takes anyone's
        assert _ask(closed, route, closed.others["owner"]) == 401


@pytest.mark.parametrize("route", TABLE.routes, ids=ids)
def test_a_revoked_token_opens_nothing(closed: Closed, route: Route) -> None:
    tokens = closed.site.distributions["default"].tokens
    secret = tokens.create("gone", "owner", None)
    tokens.revoke("gone")
    assert _ask(closed, route, secret) == 401


@pytest.mark.parametrize("route", TABLE.routes, ids=ids)
def test_another_site_changes_nothing_through_a_browser(closed: Closed, route: Route) -> None:
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ):
        if not route.is_reading:
            assert _ask(closed, route, closed.tokens["owner"], **headers) == 403, headers
    assert _ask(closed, route, closed.tokens["owner"], Host="evil.example") == 403


@pytest.mark.parametrize("route", TABLE.routes, ids=ids)
def test_what_was_changed_or_refused_is_written_down(closed: Closed, route: Route) -> None:
    audit = closed.site.audit("default")
    if _ask(closed, route, closed.tokens["puller"]) == 403:
        newest = audit.list(limit=1)[0]
        assert (newest.route, newest.who, newest.status) == (route.name, "puller", 403)
    before = [entry.id for entry in audit.list(limit=1)]
    status = _ask(closed, route, closed.tokens["owner"])
    newest = audit.list(limit=1)[0]
    if [newest.id] == before:  # nothing was tried: the arguments cannot be read
        assert not route.is_written_down or status in (400, 404, 415)
    else:
        assert route.is_written_down
        assert (newest.route, newest.who, newest.status) == (route.name, "owner", status)
