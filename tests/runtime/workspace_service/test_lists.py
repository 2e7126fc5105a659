"""Lists over HTTP: an array as ever, a page at a time, and a header that asks for the next."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from registry.pages import token_of
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.links import next_link
from runtime.workspace_service.routes import TABLE
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.registry.many_versions import NAMES, filled, versions_of
from tests.runtime.workspace_service.asked import ask

API = "/api/v1/workspaces/default"
KEYS = [(f"{number:04d}", version) for number in range(NAMES) for version in versions_of(number)]
PAGED = [route for route in TABLE.routes if route.is_paged]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceApp]:
    """Of a workspace with thousands of models and images."""
    root = tmp_path_factory.mktemp("lists") / "ws"
    filled(root)
    made = ServiceApp(Site({"default": root}), ServiceConfig())
    yield made
    made.close()


def following(app: ServiceApp, address: str) -> Iterator[httpx.Response]:
    """The page at this address, and those that follow, as a client of RFC 8288 asks for them."""
    while address:
        answer = ask(app, "GET", address)
        assert answer.status_code == 200, answer.text
        yield answer
        link = answer.links.get("next", {}).get("url", "")
        address = str(answer.url.join(link)) if link else ""


@pytest.mark.parametrize("what", ["models", "images"])
@pytest.mark.parametrize("query", ["", "?limit=700"])
def test_following_the_links_gives_all_once_and_in_order(
    app: ServiceApp, what: str, query: str
) -> None:
    found = [page.json() for page in following(app, f"{API}/{what}{query}")]
    assert all(isinstance(page, list) for page in found)  # what clients of before pages read
    assert len(found[0]) == (700 if query else 1000)
    assert [(each["name"], each["version"]) for page in found for each in page] == [
        (what[0] + name, version) for name, version in KEYS
    ]


def test_the_link_keeps_what_was_asked_for(app: ServiceApp) -> None:
    query = "?limit=9&latest=true&tags=parity%3Dodd&tags=number"
    pages = [page.json() for page in following(app, f"{API}/models{query}")]
    assert {len(page) for page in pages[:-1]} == {9}
    found = [each["name"] for page in pages for each in page]
    assert found == sorted({name for name in found})
    odd = [
        f"m{number:04d}"
        for number in range(NAMES)
        if any(version % 2 for version in versions_of(number))
    ]
    assert found == odd


@pytest.mark.parametrize("route", PAGED, ids=lambda route: str(route.name))
@pytest.mark.parametrize("limit", ["0", "-1", "1e9", "1000000000", "9" * 30, "ten", "", "1.5"])
def test_a_limit_that_is_none_is_refused_in_one_line(
    app: ServiceApp, route: object, limit: str
) -> None:
    answer = ask(app, "GET", f"{API}{route.path}?limit={limit}")  # type: ignore[attr-defined]
    assert answer.status_code == 400, answer.text
    message = answer.json()["error"]["message"]
    assert "limit" in message or "a page has 1 to 1000" in message or "64 bits" in message
    assert "\n" not in message


@pytest.mark.parametrize("route", PAGED, ids=lambda route: str(route.name))
@pytest.mark.parametrize(
    "token",
    ["", "x", "1-1000", "\x00", "é", "' OR 1=1 --", "A" * 7000, token_of("else", "digits", 1)],
)
def test_a_token_that_is_none_is_refused_in_one_line(
    app: ServiceApp, route: object, token: str
) -> None:
    answer = ask(app, "GET", f"{API}{route.path}?token={quote(token)}")  # type: ignore[attr-defined]
    assert answer.status_code == 400, answer.text
    message = answer.json()["error"]["message"]
    assert "is no page token of a list of " in message
    assert "\n" not in message
    assert len(message) < 130


def test_the_document_says_where_the_next_page_is(app: ServiceApp) -> None:
    paths = ask(app, "GET", "/openapi.json").json()["paths"]
    assert PAGED
    for route in TABLE.routes:
        if route.method == "GET":
            found = paths[TABLE.template(route).replace(":path}", "}")]["get"]
            headers = found["responses"].get("200", {}).get("headers", {})
            assert ("Link" in headers) == route.is_paged


def test_values_of_any_kind_go_into_an_address_and_back() -> None:
    [route] = [each for each in TABLE.routes if each.name == "models.list"]
    given = {"name": "a&b=ü ", "tags": ("k=v w", "x"), "latest": True, "limit": 3, "token": "old"}
    link = next_link(route, given, "new>")
    assert link.startswith("<?")
    assert link.endswith('>; rel="next"')
    query = httpx.QueryParams(link[2:].partition(">;")[0])
    assert query["name"] == "a&b=ü "
    assert query.get_list("tags") == ["k=v w", "x"]
    assert (query["latest"], query["limit"], query["token"]) == ("true", "3", "new>")


def test_a_head_has_the_link_too(app: ServiceApp) -> None:
    answer = ask(app, "HEAD", f"{API}/models?limit=1")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "next" in answer.links
