"""Long lists by URL: all of them, or so many, page after page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from runtime.errors import ServiceError
from runtime.remote.client import ServiceClient
from runtime.remote.pages import walk
from runtime.remote.place import parse_place
from runtime.workspace_service.routes import models as routes
from tests.registry.many_versions import filled
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import Served, serving


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose workspace has thousands of models and images."""
    root = tmp_path_factory.mktemp("long") / "ws"
    filled(root)
    with serving({"default": root}) as found:
        yield found


@pytest.fixture
def both(full: Served, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with no token and a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("INFERRY_TOKEN", "INFERRY_CA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return cli


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--latest",),
        ("--tag", "parity=odd"),
        ("--limit", "1"),
        ("--limit", "1000"),
        ("--limit", "2345"),
        ("--limit", "3", "--tag", "rare", "--latest"),
        ("--limit", "1000000"),
    ],
    ids=" ".join,
)
def test_the_command_line_lists_all_by_url_as_by_folder(
    full: Served, both: Cli, options: tuple[str, ...]
) -> None:
    for what in ("model", "image"):
        here, there = (
            both(what, "list", *options, "-o", "json", "-w", where)
            for where in (str(full.local().root), full.url)
        )
        assert here.code == 0, here.stderr
        assert there == here
        listed = len(json.loads(here.stdout))
        limit = int(options[1]) if options[:1] == ("--limit",) else None
        assert listed <= limit if limit is not None else listed > 1000


@pytest.mark.parametrize("limit", ["0", "-1", "1e9", "ten", "1000001"])
def test_a_limit_that_is_none_is_a_mistake_in_the_command(
    full: Served, both: Cli, limit: str
) -> None:
    for what in ("model", "image"):
        refused = both(what, "list", "--limit", limit, "-w", full.url)
        assert refused.code == 2
        assert "--limit" in refused.stderr


class Asked(httpx.BaseTransport):
    """Answers as ``answer`` does, and keeps what was asked."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.queries: list[str] = []
        self._answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As of a transport."""
        self.queries.append(request.url.query.decode())
        return self._answer(request)

    def client(self) -> ServiceClient:
        """Of a workspace ``ws``."""
        return ServiceClient(parse_place("http://127.0.0.1:1/ws"), transport=self)


def test_a_page_is_asked_for_when_it_is_needed(full: Served) -> None:
    inner = httpx.HTTPTransport()
    port = int(full.url.rpartition(":")[2])

    def relayed(request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=port)
        return inner.handle_request(request)

    asked = Asked(relayed)
    client = ServiceClient(parse_place("http://127.0.0.1:1/default"), transport=asked)
    with inner, client:
        models = walk(client, routes.list_models)
        assert asked.queries == []
        first = [next(models).name for _ in range(1000)]
        assert asked.queries == [""]  # a service of before pages knows no limit
        second = next(models).name
        assert len(asked.queries) == 2
        assert "token=" in asked.queries[1]
        assert first == sorted(first)
        assert first[-1] <= second


def test_a_service_of_before_pages_sends_all_at_once() -> None:
    asked = Asked(lambda request: httpx.Response(200, content=msgspec.msgpack.encode([])))
    assert [*walk(asked.client(), routes.list_models)] == []
    assert asked.queries == [""]


@pytest.mark.parametrize("link", ["<?token=a>; rel=next", '<?token=>; rel="next"'])
def test_a_list_that_does_not_go_on_is_a_fault_of_the_service(link: str) -> None:
    headers = {"Link": link}
    empty = msgspec.msgpack.encode([])
    asked = Asked(lambda request: httpx.Response(200, headers=headers, content=empty))
    with pytest.raises(ServiceError, match="gives a list that does not go on"):
        [*walk(asked.client(), routes.list_models)]
    assert len(asked.queries) <= 2
