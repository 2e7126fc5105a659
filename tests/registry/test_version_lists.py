"""Lists of models and images: whole, page by page and in windows, with thousands of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from registry import Workspace
from registry.database import Database
from registry.errors import InvalidNameError
from registry.images import Images
from registry.models import Models
from registry.names import parse_query
from registry.version_lists import (
    ALL,
    IMAGES,
    MAX_PAGE_BYTES,
    MODELS,
    Kind,
    Sought,
    VersionLists,
    statement,
)
from tests.registry.many_versions import NAMES, add, filled, tags_of, versions_of

KEYS = [(f"{number:04d}", version) for number in range(NAMES) for version in versions_of(number)]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return filled(tmp_path_factory.mktemp("many") / "ws")


def lists_of(workspace: Workspace, what: str) -> Models | Images:
    return workspace.models if what == "m" else workspace.images


def pages(lists: Models | Images, limit: int, **sought: object) -> Iterator[list[tuple[str, int]]]:
    token = None
    while True:
        page = lists.page(limit=limit, token=token, **sought)  # type: ignore[arg-type]
        yield [(each.name, each.version) for each in page.items]
        token = page.next_token
        if token is None:
            return


def asked(queries: tuple[str, ...], latest: bool, name: str | None) -> list[tuple[str, int]]:
    """What a reader of all of them would pick."""
    found = []
    for number in range(NAMES):
        mine = [
            (f"{number:04d}", version)
            for version in versions_of(number)
            if all(
                query.partition("=")[0] in tags_of(number, version)
                and query.partition("=")[2] in ("", tags_of(number, version)[query.split("=")[0]])
                for query in queries
            )
            and name in (None, f"{number:04d}")
        ]
        found += mine[-1:] if latest else mine
    return found


@pytest.mark.parametrize("what", ["m", "i"])
@pytest.mark.parametrize("limit", [1000, 999, 333])
def test_pages_give_each_version_once_and_in_order(many: Workspace, what: str, limit: int) -> None:
    found = [*pages(lists_of(many, what), limit)]
    assert [key for page in found for key in page] == [(what + name, v) for name, v in KEYS]
    assert {len(page) for page in found[:-1]} == {limit}
    assert found[-1]


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("name", [None, "0107", "0109"])
@pytest.mark.parametrize(
    "queries",
    [
        (),
        ("parity",),
        ("parity=even",),
        ("rare",),
        ("rare=yes", "parity=odd"),
        ("parity", "rare=yes"),
        ("number=107",),
        ("parity=none",),
        ("nobody",),
    ],
)
def test_pages_and_lists_have_just_what_was_asked_for(
    many: Workspace, queries: tuple[str, ...], name: str | None, latest: bool
) -> None:
    wanted = asked(queries, latest, name)
    for what in "mi":
        lists = lists_of(many, what)
        keys = [(what + key[0], key[1]) for key in wanted]
        given = {"tags": queries, "latest": latest, "name": name and what + name}
        listed = lists.list(**given)  # type: ignore[arg-type]
        assert [(each.name, each.version) for each in listed] == keys
        assert [key for page in pages(lists, 900, **given) for key in page] == keys
        some = lists.list(limit=7, **given)  # type: ignore[arg-type]
        assert [(each.name, each.version) for each in some] == keys[:7]


def test_what_comes_and_goes_between_pages_hides_and_repeats_nothing(tmp_path: Path) -> None:
    workspace = filled(tmp_path / "ws")
    found: list[tuple[str, int]] = []
    gone = {("m1500", 1), ("m2498", 3), ("m0008", 1)}
    for number, page in enumerate(pages(workspace.models, 500)):
        found += page
        add(workspace.root, "a", range(number * 10, number * 10 + 10))  # before all of them
        add(workspace.root, f"m{page[-1][0][1:]}-new", [3])  # just behind the page
        if number == 1:
            for name, version in gone:
                workspace.models.delete(f"{name}:{version}")
    assert found == sorted(set(found))
    stayed = {("m" + name, version) for name, version in KEYS} - gone
    assert stayed - set(found) == set()
    assert {key for key in found if key not in stayed and "-new" not in key[0]} <= {("m0008", 1)}
    assert any("-new" in name for name, _ in found)


def test_new_versions_of_what_was_given_do_not_show_it_again(tmp_path: Path) -> None:
    workspace = filled(tmp_path / "ws", 30)
    found = []
    for page in pages(workspace.models, 10, latest=True):
        found += [name for name, _ in page]
        with closing(sqlite3.connect(workspace.root / "workspace.db")) as connection, connection:
            connection.execute(
                "INSERT INTO model_versions (name, version, description, created_at, digest,"
                " size_bytes) SELECT name, max(version) + 1, '', created_at, digest, 1"
                " FROM model_versions GROUP BY name"
            )
    assert found == [f"m{number:04d}" for number in range(30) if versions_of(number)]


class Counting(Database):
    """Counts the steps of SQLite's machine."""

    steps = 0

    def _connect(self, *, is_of_thread: bool = True) -> sqlite3.Connection:
        connection = super()._connect(is_of_thread=is_of_thread)

        def count() -> int:
            self.steps += 1
            return 0

        connection.set_progress_handler(count, 1)
        return connection


def steps_of(root: Path, kind: Kind, wanted: Sought, limit: int, after: str | None) -> int:
    """To find the keys of a page and count its records, which are read as nothing."""
    database = Counting(root / "workspace.db")
    lists = VersionLists(database, kind, lambda connection, row: 1, lambda record: 1)
    assert len(lists.page(wanted, limit, after).items) == limit
    return database.steps


@pytest.mark.parametrize("kind", [MODELS, IMAGES], ids=lambda kind: str(kind.noun))
@pytest.mark.parametrize(
    "wanted",
    [
        Sought(),
        Sought(is_latest=True),
        Sought(tags=(parse_query("rare=yes"),)),
        Sought(tags=(parse_query("parity=odd"), parse_query("number"))),
        Sought(tags=(parse_query("parity=odd"),), is_latest=True),
    ],
    ids=["all", "latest", "rare", "tags", "latest-tag"],
)
def test_a_page_costs_the_same_however_long_the_list_is(
    many: Workspace, tmp_path: Path, kind: Kind, wanted: Sought
) -> None:
    few = filled(tmp_path / "few", 300)
    short = steps_of(few.root, kind, wanted, 3, None)
    middle = VersionLists(Database(many.root / "workspace.db"), kind, _key, lambda record: 1)
    token = middle.page(wanted, 20, None).next_token
    for after in (None, token):
        assert steps_of(many.root, kind, wanted, 3, after) <= 2 * short < 4000


def _key(connection: sqlite3.Connection, row: sqlite3.Row) -> object:
    return row["name"]


@pytest.mark.parametrize("after", [None, ("m1000", 1)])
@pytest.mark.parametrize("kind", [MODELS, IMAGES], ids=lambda kind: str(kind.noun))
def test_keys_are_found_in_the_order_of_an_index(
    many: Workspace, kind: Kind, after: tuple[str, int] | None
) -> None:
    for tags in ((), ("parity",), ("rare=yes",), ("parity", "rare=yes")):
        for latest in (False, True):
            wanted = Sought(tags=tuple(map(parse_query, tags)), is_latest=latest)
            sql, values = statement(kind, wanted, after=after, limit=10)
            with closing(sqlite3.connect(many.root / "workspace.db")) as connection:
                steps = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
            said = [step[3] for step in steps]
            assert not [step for step in said if "TEMP B-TREE" in step], said
            assert all("INDEX" in step for step in said if step.startswith(("SCAN", "SEARCH")))


def test_a_window_counts_and_skips(many: Workspace) -> None:
    window = many.models.window(part="M000", offset=2, limit=3)
    assert window.count == 9  # m0009 has no version
    assert [each.reference for each in window.items] == ["m0002:3", "m0003:1", "m0004:2"]
    newest = many.images.window(part="i0002", limit=2)
    assert ([each.reference for each in newest.items], newest.count) == (["i0002:3", "i0002:2"], 3)
    assert many.models.window(part="%").count == 0
    assert many.models.window(offset=10**9).items == ()
    assert many.models.window(limit=1).count == len({name for name, _ in KEYS})


def test_a_page_of_large_records_ends_early_and_goes_on(tmp_path: Path) -> None:
    workspace = filled(tmp_path / "ws", 12)
    with closing(sqlite3.connect(workspace.root / "workspace.db")) as connection, connection:
        connection.execute(
            "UPDATE image_versions SET log = ? WHERE name < 'i0006'", ("x" * (MAX_PAGE_BYTES // 3),)
        )
    found = [*pages(workspace.images, 1000)]
    assert [len(page) for page in found][:3] == [3, 3, 3]
    assert [key for page in found for key in page] == [
        (f"i{name}", version) for name, version in KEYS if int(name) < 12
    ]


@pytest.mark.parametrize("limit", [0, -1, ALL - 1, 2**31, 2**70])
def test_a_limit_of_a_whole_list_is_a_number_from_1_on(many: Workspace, limit: int) -> None:
    for what in "mi":
        with pytest.raises(InvalidNameError, match="a limit is a number from 1 on"):
            lists_of(many, what).list(limit=limit)
