"""Lists of thousands come in pages that lead to each other."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest

from runtime.portal.app import PortalApp
from tests.registry.many_versions import NAMES, filled, versions_of
from tests.runtime.portal.browser_like import Visitor, portal

NAMED = [number for number in range(NAMES) if versions_of(number)]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalApp]:
    root: Path = tmp_path_factory.mktemp("long") / "ws"
    filled(root)
    with closing(sqlite3.connect(root / "workspace.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO model_versions (name, version, description, created_at, digest,"
            " size_bytes) VALUES ('m0002', ?, '', '2026-01-01T00:00:00Z', 'sha256:0', 1)",
            [(version,) for version in range(4, 251)],
        )
    made = portal(root)
    yield made
    made.close()


def walked(app: PortalApp, path: str, wanted: str) -> list[list[str]]:
    """What ``wanted`` finds on each page, from the first to the last by the links."""
    found, query = [], ""
    while True:
        text = Visitor(app).get(path + query).text
        found.append(re.findall(wanted, text))
        queries = [unescape(each) for each in re.findall(r'href="(\?from=[^"]*)"', text)]
        here = 0 if not query else int(re.findall(r"from=(\d+)", query)[0])
        ahead = [each for each in queries if int(re.findall(r"from=(\d+)", each)[0]) > here]
        assert (here > 0) == (len(queries) > len(ahead))  # a way back
        if not ahead:
            return found
        query = ahead[0]


def test_models_and_images_are_walked_by_their_links(app: PortalApp) -> None:
    pages = walked(app, "/models", r"<bdi>(m\d{4})</bdi>")
    assert [name for page in pages for name in page] == [f"m{number:04d}" for number in NAMED]
    assert {len(page) for page in pages[:-1]} == {100}
    images = Visitor(app).get("/images?q=I0002").text
    assert re.findall(r"images/i0002/(\d)\"", images)[:2] == ["3", "2"]


def test_versions_of_one_name_are_walked_the_newest_first(app: PortalApp) -> None:
    pages = walked(app, "/models/m0002", r'<th scope="row"><a href="[^"]*">version (\d+)</a>')
    assert [int(each) for page in pages for each in page] == [*range(250, 0, -1)]
    assert [len(page) for page in pages] == [100, 100, 50]
