"""Every route of the table, fed what no client would send: 4xx in one document, and nothing of the
machine in it. Names and paths are those of research/registry.md, section 4."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from registry import Workspace
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.route import Route
from runtime.workspace_service.routes import TABLE
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.workspace_service.asked import ask

NAMES = (
    *(
        "..",
        ".",
        "../..",
        "..%2f..",
        "%252e%252e%252f",
        "..\\..",
        ";/../",
        "#",
        "//x",
        "/etc/passwd",
    ),
    *("file:///etc/passwd", "C:\\x", "a\0b", "a\x1bb", "a\nb", "x" * 4096, "\uff0e\uff0e\uff0f"),
    *("\u2215etc", "x.", "x ", " ", "$(id)", "`id`", "'; DROP TABLE runs; --", "{{7*7}}", "%s%n"),
    *("\u202eevil", "\ud7ff", "-rf", "x:y:z", "x:99999999999999999999", "1e308", "nan"),
)
BODIES: tuple[Any, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"\xff\xfe",
    b'{"a": ' * 100_000,
    b"[" * 100_000,
    b'{"x": 1e999}',
    b'{"x": NaN}',
    b'{"no_such_argument": 1}',
    b'{"name": {"$ne": null}}',
    b'{"name": "\\ud800"}',
    b'{"name": ' + b"9" * 5000 + b"}",
    b'{"tags": {' + b",".join(b'"%d": "x"' % n for n in range(50_000)) + b"}}",
)
LEAKS = re.compile(
    r"Traceback|File \"|\.py\b|sqlite|SELECT |INSERT |UPDATE |/usr/|/work/|/root/|/home/"
)


class Open:
    """A service on this machine, without tokens."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.app = ServiceApp(Site({"default": root}), ServiceConfig())

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; what is true of every answer is checked."""
        response = ask(self.app, method, path, **options)
        assert response.status_code < 500, (method, path, response.text[:500])
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        if response.status_code >= 400:
            told = response.text
            assert str(self.root) not in told, told[:500]
            assert str(self.root.parent) not in told, told[:500]
            assert not LEAKS.search(told), told[:500]
            error = json.loads(told)["error"]
            assert error["code"]
            assert error["message"]
            assert "\n" not in error["message"]
        return response


@pytest.fixture(scope="module")
def open_(tmp_path_factory: pytest.TempPathFactory) -> Open:
    folder = tmp_path_factory.mktemp("hostile")
    workspace = Workspace.init(folder / "ws", base="none")
    (folder / "w.txt").write_bytes(b"weights")
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(folder / "w.txt", name="m")
    workspace.images.create("digits", models=["m"], script=folder / "score.py")
    return Open(workspace.root)


def _streams(route: Route) -> bool:
    return route.path.endswith("/events")


ROUTES = [route for route in TABLE.routes if not _streams(route)]
IDS = [route.name for route in ROUTES]


def _path(route: Route, value: str) -> str:
    path = TABLE.template(route).replace("{workspace}", "default")
    for name in route.path_names:
        path = path.replace("{" + name + ":path}", value).replace("{" + name + "}", value)
    return path


@pytest.mark.parametrize("route", [r for r in ROUTES if r.path_names], ids=lambda r: r.name)
def test_a_name_in_no_encoding_leads_anywhere(open_: Open, route: Route) -> None:
    for name in NAMES:
        once = quote(name, safe="").replace(".", "%2e")  # httpx would resolve dots itself
        for value in (once, quote(once, safe="")):
            response = open_.ask(route.method, _path(route, value), content=b"{}")
            assert response.status_code in (202, 204, 400, 404, 405, 409, 411, 412, 413, 415), name


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_body_that_is_not_asked_for_is_refused(open_: Open, route: Route) -> None:
    path = _path(route, quote("m:1"))
    for body in BODIES:
        for kind in ("application/json", "application/msgpack"):
            open_.ask(route.method, path, content=body, headers={"Content-Type": kind})


@pytest.mark.parametrize(
    "route",
    [r for r in ROUTES if r.method in ("POST", "PUT", "PATCH") and not r.is_async],
    ids=lambda r: r.name,
)
def test_a_form_of_a_web_page_is_no_body(open_: Open, route: Route) -> None:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        headers = {"Content-Type": kind}
        response = open_.ask(route.method, _path(route, "x"), content=b"{}", headers=headers)
        assert response.status_code == 415


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_query_that_is_not_asked_for_is_refused(open_: Open, route: Route) -> None:
    path = _path(route, quote("m:1"))
    for query in (
        "no_such_argument=1",
        "limit=1e308&limit=2",
        "limit=" + "9" * 400,
        "limit=-1",
        "before=99999999999999999999",
        "filter=" + quote("((((" * 500),
        "filter=" + quote("metrics.x < 'a' OR 1=1 --"),
        "x=" + "y" * 8000,
        "&".join(f"a{n}=1" for n in range(500)),
        "name=%ff%fe",
        "name=%00",
    ):
        open_.ask(route.method, f"{path}?{query}")


def test_a_body_has_a_bound(open_: Open) -> None:
    path = "/api/v1/workspaces/default/models/m:1/tags"
    headers = {"Content-Type": "application/json"}
    response = open_.ask("PATCH", path, content=b" " * (17 << 20), headers=headers)
    assert response.status_code == 413
