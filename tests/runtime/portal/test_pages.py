"""The pages of a workspace that is empty, and what every answer has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from runtime.portal.app import PortalApp
from runtime.portal.pages import PLACES
from runtime.portal.places import match
from tests.runtime.portal.browser_like import Visitor, portal
from tests.runtime.portal.content import Content

PAGES = (
    "",
    "/experiments",
    "/pipelines",
    "/compute",
    "/devices",
    "/rollouts",
    "/models",
    "/formats",
    "/images",
    "/fpga",
    "/deployments",
    "/activities",
    "/activity-hooks",
    "/audit",
    "/tokens",
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalApp]:
    root = tmp_path_factory.mktemp("portal") / "ws"
    Workspace.init(root, base="none")
    made = portal(root)
    yield made
    made.close()


@pytest.mark.parametrize("path", PAGES)
def test_page_of_an_empty_workspace(app: PortalApp, path: str) -> None:
    answer = Visitor(app).get(path)
    assert answer.status_code == 200
    assert answer.text.count("<h1>") == 1
    assert 'id="content"' in answer.text


def test_what_was_there_from_the_beginning_has_no_date(app: PortalApp) -> None:
    """MLflow's experiment 0 was made by nobody: 1970 would be a lie."""
    shown = Visitor(app).get("/experiments").text
    assert "Default" in shown
    assert "1970" not in shown


def test_no_page_is_forgotten_where_all_are_looked_at(hostile: Content) -> None:
    looked_at = {
        match("GET", f"/ui/w/default{path.partition('?')[0]}").place.name for path in hostile.pages
    }
    pages = {place.name for place in PLACES if place.method == "GET" and not place.is_live}
    assert pages - looked_at == {
        *("home", "sign-in", "workspaces"),  # of the service
        *("run.log", "run.file", "run.image", "version.file"),  # files
    }


def test_the_beginning_leads_to_the_only_workspace(app: PortalApp) -> None:
    assert Visitor(app).get("/").headers["location"] == "/ui/"
    assert Visitor(app).get("/ui/").headers["location"] == "/ui/w/default"


def test_a_slash_too_many_is_no_other_page(app: PortalApp) -> None:
    assert Visitor(app).get("/models/").headers["location"] == "/ui/w/default/models"
    assert Visitor(app).get("/ui/w/default//").headers["location"] == "/ui/w/default"


def test_every_answer_has_the_headers(app: PortalApp) -> None:
    for path in ("", "/nothing", "/ui/sign-in", "/ui/static/portal.css", "/ui/"):
        headers = Visitor(app).get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_no_page_has_a_script_or_a_style_in_its_text(app: PortalApp) -> None:
    for path in PAGES:
        text = Visitor(app).get(path).text
        assert text.count("<script") == 1
        assert "<script src=" in text
        assert " style=" not in text
        assert "<style" not in text
        assert " on" + "click" not in text


def test_no_page_leads_to_another_site(app: PortalApp) -> None:
    here = Path(__file__).parents[3] / "runtime" / "portal"
    for file in [*(here / "templates").iterdir(), *(here / "static").iterdir()]:
        text = file.read_text().replace("http://www.w3.org/", "")
        assert "http://" not in text, file
        assert "https://" not in text, file
        assert '"//' not in text, file


def test_static_files_may_be_kept_for_ever(app: PortalApp) -> None:
    answer = Visitor(app).get("/ui/static/portal.js")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert Visitor(app).get("/ui/static/../app.py").status_code == 404
    assert Visitor(app).get("/ui/static/%2e%2e/app.py").status_code == 404
