"""MLflow's REST behind the service's door: every route of its table, asked by everyone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from registry import Workspace
from runtime.mlflow_service import ROUTES
from runtime.mlflow_service.routes import Route
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.roles import ROLES, Role
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.workspace_service.asked import ask


@dataclass(frozen=True)
class Closed:
    """A service of two workspaces that want tokens; ``tokens`` are of the second."""

    app: ServiceApp
    site: Site
    tokens: Mapping[Role, str]
    other: str


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder = tmp_path_factory.mktemp("mlflow")
    roots = {name: Workspace.init(folder / name, base="none").root for name in ("default", "two")}
    site = Site(roots)
    first, second = site.distributions.values()
    tokens: dict[Role, str] = {role: second.tokens.create(role, role, None) for role in ROLES}
    app = ServiceApp(site, ServiceConfig())
    yield Closed(app, site, tokens, first.tokens.create("me", "owner", None))
    app.close()


def _ask(closed: Closed, route: Route, token: str | None, **headers: str) -> int:
    path = route.path.replace("{path}", "x/y").replace("{model_id}", "m-1").replace("{key}", "k")
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    response = ask(closed.app, route.method, f"/mlflow/two{path}", headers=headers)
    assert response.headers["x-content-type-options"] == "nosniff"
    if response.status_code >= 400:
        assert set(response.json()) == {"error_code", "message"}
    return response.status_code


OWN = [route for route in ROUTES if not route.path.startswith("/ajax-api/")]
IDS = [f"{route.method}-{route.path}" for route in ROUTES]


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_who_may_ask_may_and_nobody_else(closed: Closed, route: Route) -> None:
    for role in ROLES:
        status = _ask(closed, route, closed.tokens[role])
        may = ROLES.index(role) >= ROLES.index(route.role)
        assert (status not in (401, 403)) == may, (role, status)
        assert status < 500, role
    for token in (None, "", "ify_" + "x" * 43, closed.other):
        assert _ask(closed, route, token) == 401
    owner = closed.tokens["owner"]
    if route.method != "GET":
        assert _ask(closed, route, owner, **{"Sec-Fetch-Site": "cross-site"}) == 403
        assert _ask(closed, route, owner, Origin="http://evil.example") == 403
    assert _ask(closed, route, owner, Host="evil.example") == 403


@pytest.mark.parametrize("route", OWN, ids=[f"{r.method}-{r.path}" for r in OWN])
def test_what_was_changed_or_refused_is_written_down(closed: Closed, route: Route) -> None:
    audit = closed.site.audit("two")
    assert _ask(closed, route, closed.tokens["puller"]) == 403
    newest = audit.list(limit=1)[0]
    assert (newest.who, newest.status) == ("puller", 403)
    assert newest.route.startswith("mlflow.")
    status = _ask(closed, route, closed.tokens["owner"])
    latest = audit.list(limit=1)[0]
    if route.role == "reader" or route.kind == "log":
        assert latest == newest
    else:
        assert (latest.who, latest.status) == ("owner", status)


def test_each_workspace_has_its_own(closed: Closed) -> None:
    made = ask(
        closed.app,
        "POST",
        "/mlflow/two/api/2.0/mlflow/experiments/create",
        json={"name": "here"},
        headers={"Authorization": f"Bearer {closed.tokens['contributor']}"},
    )
    assert made.status_code == 200
    name = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=here"
    mine = {"Authorization": f"Bearer {closed.tokens['reader']}"}
    theirs = {"Authorization": f"Bearer {closed.other}"}
    assert ask(closed.app, "GET", f"/mlflow/two{name}", headers=mine).status_code == 200
    assert ask(closed.app, "GET", name, headers=theirs).status_code == 404
    assert ask(closed.app, "GET", name, headers=mine).status_code == 401


def test_a_path_of_mlflow_that_is_none_is_said_so(closed: Closed) -> None:
    mine = {"Authorization": f"Bearer {closed.tokens['reader']}"}
    for path in ("/api/2.0/mlflow/traces", "/mlflow/two/", "/mlflow/none/api/2.0/mlflow/runs/get"):
        assert ask(closed.app, "GET", path, headers=mine).status_code in (401, 404)
    assert ask(closed.app, "GET", "/mlflow/two/api/2.0/mlflow/x", headers=mine).status_code == 404
