"""Every place with everybody: who may, and who may not. Made from the table of places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry import Workspace
from registry.distribution import Distribution
from runtime.portal.app import PortalApp
from runtime.portal.pages import PLACES
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.roles import ROLES, Role, allows
from runtime.workspace_service.site import Site
from tests.runtime.portal.browser_like import Visitor

ARGUMENTS = {
    "id": "0" * 32,
    "name": "nothing",
    "version": "7",
    "path": "a/b.txt",
    "kind": "model",
    "ref": "nothing:7",
}
CLOSED = [place for place in PLACES if place.role is not None]
FOUND = {200, 303, 400, 404, 409}
"""What somebody who may gets: what they ask for is mostly not there."""


@dataclass(frozen=True, slots=True)
class Field:
    app: PortalApp
    tokens: dict[str, str]
    visitors: dict[str, Visitor]


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("roles")
    tokens: dict[str, str] = {}
    for name in ("default", "other"):
        Workspace.init(folder / name, base="none")
        for role in ROLES if name == "default" else ("owner",):
            made = Distribution.open(folder / name).tokens.create(role, role, None)
            tokens[f"{name}.{role}"] = made
    app = PortalApp(Site({name: folder / name for name in ("default", "other")}), ServiceConfig())
    visitors = {}
    for who, token in tokens.items():
        visitors[who] = Visitor(app)
        visitors[who].sign_in(token)
    yield Field(app, tokens, visitors)
    app.close()


def _address(place: Place) -> str:
    return url(place.name, workspace="default", **ARGUMENTS)


def _asked(visitor: Visitor, place: Place) -> int:
    if place.method == "GET":
        return visitor.get(_address(place)).status_code
    if not visitor.csrf:
        visitor.get("/ui/sign-in")
    return visitor.post(_address(place), {"name": "nothing", "role": "none"}).status_code


def _id(value: object) -> str:
    return value.name if isinstance(value, Place) else str(value)


def test_only_the_way_in_is_open() -> None:
    assert {place.name for place in PLACES if place.role is None} == {
        "home",
        "sign-in",
        "sign-in.do",
        "sign-out",
        "workspaces",
    }


def test_what_changes_something_is_a_form_and_takes_a_contributor() -> None:
    for place in CLOSED:
        assert (place.method == "POST") <= allows(place.role or "puller", "contributor"), place.name


@pytest.mark.parametrize("place", CLOSED, ids=_id)
@pytest.mark.parametrize("role", ["reader", "contributor", "owner"])
def test_a_place_is_open_to_its_role_and_those_above(
    field: Field, place: Place, role: Role
) -> None:
    if place.is_live and allows(role, place.role or "owner"):
        return  # a stream; see test_stream.py
    status = _asked(field.visitors[f"default.{role}"], place)
    if allows(role, place.role or "owner"):
        assert status in FOUND
    else:
        assert status == 403


@pytest.mark.parametrize("place", CLOSED, ids=_id)
@pytest.mark.parametrize("who", ["nobody", "default.puller", "other.owner"])
def test_a_place_is_closed_to_whom_it_does_not_know(field: Field, place: Place, who: str) -> None:
    visitor = field.visitors.get(who) or Visitor(field.app)
    if place.method == "POST" or place.is_live:
        assert _asked(visitor, place) == 401
        return
    answer = visitor.get(_address(place))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/ui/sign-in?next=%2Fui%2Fw%2Fdefault")
    assert not answer.content


@pytest.mark.parametrize("place", [each for each in CLOSED if each.method == "POST"], ids=_id)
def test_a_form_needs_what_its_page_gave(field: Field, place: Place) -> None:
    owner, reader = field.visitors["default.owner"], field.visitors["default.reader"]
    for given in ("", "0" * 64, reader.csrf):
        assert owner.post(_address(place), {"csrf": given}).status_code == 403


@pytest.mark.parametrize("place", [each for each in PLACES if each.method == "POST"], ids=_id)
def test_a_form_of_another_site_is_refused(field: Field, place: Place) -> None:
    owner = Visitor(field.app)
    owner.sign_in(field.tokens["default.owner"])
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert owner.post(_address(place), headers=headers).status_code == 403


def test_what_a_form_did_and_was_refused_is_in_the_audit_log(field: Field) -> None:
    field.visitors["default.reader"].get("")
    field.visitors["default.reader"].post("/models/nothing/7/tags", {"key": "a"})
    field.visitors["default.contributor"].get("")
    field.visitors["default.contributor"].post("/models/nothing/7/tags", {"key": "a"})
    newest, before = (
        Site({"default": field.app._site.workspace("default").root}).audit("").list(limit=2)
    )
    assert (newest.who, newest.route, newest.status) == ("contributor", "portal.version.tag", 404)
    assert (before.who, before.route, before.status) == ("reader", "portal.version.tag", 403)


def test_nobody_learns_which_workspaces_there_are(field: Field) -> None:
    nobody = Visitor(field.app)
    there, gone = nobody.get("/ui/w/other"), nobody.get("/ui/w/nowhere")
    assert there.status_code == gone.status_code == 303
    assert there.headers["location"].replace("other", "nowhere") == gone.headers["location"]
    assert field.visitors["other.owner"].get("/ui/w/nowhere").status_code == 404


def test_the_navigation_shows_what_they_may(field: Field) -> None:
    assert "Audit log" in field.visitors["default.owner"].get("").text
    assert "Audit log" not in field.visitors["default.reader"].get("").text


def test_who_may_not_change_the_formats_is_told_who_may(field: Field) -> None:
    for role in ("reader", "contributor"):
        text = field.visitors[f"default.{role}"].get("/formats").text
        assert "Owners of the workspace may change this." in text
        assert "formats/set" not in text
    assert "formats/set" in field.visitors["default.owner"].get("/formats").text


def test_a_token_of_several_workspaces_opens_them_all(tmp_path: Path) -> None:
    for name in ("one", "two"):
        Workspace.init(tmp_path / name, base="none")
    one = Distribution.open(tmp_path / "one").tokens.create("ada", "owner", None)
    two = Distribution.open(tmp_path / "two").tokens.create("bob", "reader", None)
    app = PortalApp(Site({"one": tmp_path / "one", "two": tmp_path / "two"}), ServiceConfig())
    visitor = Visitor(app)
    assert visitor.sign_in(one).headers["location"] == "/ui/w/one"
    assert visitor.get("/ui/w/two").status_code == 303
    assert visitor.sign_in(two).headers["location"] == "/ui/w/two"
    assert visitor.get("/ui/w/one").status_code == 200
    assert visitor.get("/ui/w/two").status_code == 200
    assert "Tokens" not in visitor.get("/ui/w/two").text
    app.close()
