"""Searches for names of models, versions and logged models find in the database what looking at all
of them one by one finds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.database import Database
from registry.errors import InvalidNameError
from registry.model_name_rows import NameRecord, VersionRecord
from registry.model_names import ModelNames
from registry.model_origins import Origin
from registry.model_search import NAMES, VERSIONS
from registry.pages import Page
from registry.records import StoredFile
from registry.tracking import logged_search, record_search
from registry.tracking.entries import Entry, write_all
from registry.tracking.logged_models import LoggedModel
from registry.tracking.logged_search import LOGGED
from tests.registry.many_versions import add, filled, versions_of
from tests.registry.tracking.one_by_one import select


@dataclass(frozen=True)
class Facts:
    """What a filter can ask of a record that is called ``name``."""

    name: str
    attributes: Mapping[str, str | float]
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


NAN = float("nan")
TAGS: tuple[dict[str, str], ...] = (
    {},
    {"a": "1"},
    {"a": "2", "b": "x"},
    {"a": "", "b": "X%_"},
    {"a": "[é]", "b.c": "it's"},
    {"b": "xx"},
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With something of each kind, and what is like it and not it."""
    folder = tmp_path_factory.mktemp("search")
    made = Workspace.init(folder / "ws", base="none")
    file = folder / "w.bin"
    file.write_bytes(b"1")
    runs = [made.tracking.runs.create(name).id for name in ("e", "f")]
    for number, tags in enumerate(TAGS):
        name = f"{'Net' if number % 2 else 'net'}-{number}"
        if number != 3:
            made.model_names.create(name, tags=tags)
        for version in range(number % 4):
            model = made.models.register(
                file, name=name, tags=TAGS[version], run=runs[version % 2] if version else None
            )
            if version == 2:
                made.models.register_stored(
                    [StoredFile(f.path, f.size_bytes, f.digest) for f in model.files],
                    name=name,
                    origin=Origin("runs:/x/model" if number % 2 else "", "ada", 1000 * number),
                )
                made.model_names.set_stage(name, 1, "Staging", is_alone=False)
        logged = made.tracking.logged_models.create(
            runs[number % 2], name, type="t" * (number % 3), tags=tags, params=tags
        )
        values = {"f1": (0.5, NAN, -1.0, float("inf"))[number % 4], "one": 1.0}
        points = [(key, value, 0, 5) for key, value in values.items()]
        write_all(
            made.tracking.database, [Entry(runs[number % 2], of_models=[(logged.id, points)])]
        )
        if number == 2:
            made.tracking.logged_models.finish(logged.id, "ready")
    made.tracking.logged_models.create(runs[0], "bare")
    hidden = made.tracking.logged_models.create(runs[0], "hidden")
    made.tracking.logged_models.delete(hidden.id)
    made.models.register(file, name="gone")
    made.models.delete("gone:1")
    return made


def of_name(found: NameRecord) -> Facts:
    return Facts(
        found.name,
        {
            "name": found.name,
            "creation_timestamp": found.created_ms,
            "last_updated_timestamp": found.updated_ms,
        },
        found.tags,
    )


def of_version(found: VersionRecord) -> Facts:
    origin, model = found.origin, found.model
    updated = found.created_ms if origin is None else origin.updated_ms
    assert updated is not None
    itself = f"mlflow-artifacts:/registered-models/{model.name}/{model.version}"
    return Facts(
        model.reference,
        {
            "name": model.name,
            "version_number": model.version,
            "run_id": found.run or "",
            "source_path": (origin.source if origin else "") or itself,
            "creation_timestamp": found.created_ms,
            "last_updated_timestamp": updated,
        },
        model.tags,
    )


def of_logged(found: LoggedModel) -> Facts:
    return Facts(
        found.name,
        {
            "name": found.name,
            "model_id": found.id,
            "model_type": found.type,
            "status": found.status.upper(),
            "source_run_id": found.run,
            "experiment_id": str(found.experiment_id),
            "creation_timestamp": found.created_ms,
            "creation_time": found.created_ms,
            "last_updated_timestamp": found.updated_ms,
        },
        found.tags,
        found.params,
        {key: point.value for key, point in found.metrics.items()},
    )


Searcher = Callable[..., Page[Any]]


def kinds(workspace: Workspace) -> Iterator[tuple[record_search.Records, Searcher, list[Facts]]]:
    """Each kind: how it is searched, and all there are, in the order without another."""
    names = [of_name(each) for each in workspace.model_names.list()]
    yield NAMES, workspace.model_names.search, names
    versions = [
        of_version(version) for name in workspace.model_names.list() for version in name.versions
    ]
    versions.sort(
        key=lambda each: (
            -float(each.attributes["last_updated_timestamp"]),
            -float(each.attributes["version_number"]),
        )
    )
    yield VERSIONS, workspace.model_names.search_versions, versions
    models = workspace.tracking.logged_models
    ids = [each.id for each in workspace.tracking.experiments.list()]
    yield (
        LOGGED,
        lambda **given: models.search(experiments=ids, **given),
        [of_logged(each) for each in models.list(experiments=ids)],
    )


def names_of(found: Sequence[Any]) -> list[str]:
    return [
        each.model.reference if isinstance(each, VersionRecord) else str(each.name)
        for each in found
    ]


VALUES = ("''", "'1'", "'x'", "'it''s'", "'X%_'", "'[é]'")
FILTERS = (
    "",
    *(f"tags.a {op} {value}" for op in ("=", "!=") for value in VALUES),
    *(f"tags.b {op} {value}" for op in ("LIKE", "ILIKE") for value in ("'x%'", "'_'", "'X\\%'")),
    *(f"tags.{key} IS {what}" for key in ("a", "`b.c`") for what in ("NULL", "NOT NULL")),
    *(f"tags.a {op} ('1', '[é]')" for op in ("IN", "NOT IN")),
    *(f"params.a {op} '2'" for op in ("=", "!=", "LIKE")),
    *(f"params.a {op} ('2')" for op in ("IN", "NOT IN")),
    *(f"params.a IS {what}" for what in ("NULL", "NOT NULL")),
    *(f"metrics.f1 {op} 0.5" for op in ("=", "!=", "<", "<=", ">", ">=")),
    *(f"metrics.f1 IS {what}" for what in ("NULL", "NOT NULL")),
    "metrics.f1 > -1e308 AND tags.a != '2'",
    "name LIKE 'net%'",
    "name ILIKE 'net%' AND name != 'net-0'",
    "name IN ('net-2', 'Net-5', 'gone')",
    "name NOT IN ('net-2')",
    "name = 'x'' OR 1=1 --'",
    "creation_timestamp > 0 AND last_updated_timestamp > 4000",
    "creation_timestamp = 2000",
    "version_number >= 2 AND source_path LIKE 'mlflow-artifacts:%'",
    "run_id != ''",
    "status = 'READY'",
    "model_type IN ('', 'tt')",
    "experiment_id = '1' AND creation_time < 1e300",
)
ORDERS: tuple[tuple[str, ...], ...] = (
    (),
    ("name DESC",),
    ("tags.a",),
    ("tags.b DESC", "name ASC"),
    ("creation_timestamp DESC", "name"),
    ("last_updated_timestamp", "name DESC"),
    ("params.a DESC", "name"),
    ("version_number DESC", "name"),
    ("status", "model_type DESC", "name"),
)


@pytest.mark.parametrize("order_by", ORDERS, ids=", ".join)
def test_a_search_finds_what_looking_at_each_finds(
    workspace: Workspace, order_by: tuple[str, ...]
) -> None:
    tried = 0
    for records, search, every in kinds(workspace):
        for text in FILTERS:
            try:
                wanted = select(every, text, order_by, records.attributes)
            except InvalidNameError:
                with pytest.raises(InvalidNameError):
                    search(filter=text, order_by=order_by)
                continue
            found = search(filter=text, order_by=order_by, limit=1000).items
            assert names_of(found) == [each.name for each in wanted], (records.noun, text)
            tried += 1
    assert tried > 40


def test_metrics_without_a_number_come_after_numbers_and_before_nothing(
    workspace: Workspace,
) -> None:
    *_, (_, search, _) = kinds(workspace)
    for direction, numbers in (("DESC", ["Net-3", "net-4", "net-0", "net-2"]), ("ASC", None)):
        found = names_of(search(order_by=[f"metrics.f1 {direction}", "name DESC"]).items)
        wanted = numbers or ["net-2", "net-4", "net-0", "Net-3"]
        assert found == [*wanted, "Net-5", "Net-1", "bare"]


@pytest.mark.parametrize(("limit", "text"), [*product([1, 2, 5], ["", "tags.a IS NOT NULL"])])
def test_pages_join_to_the_whole(workspace: Workspace, limit: int, text: str) -> None:
    for _, search, _ in kinds(workspace):
        for order_by in ((), ("tags.a DESC",)):
            found: list[str] = []
            token = None
            while True:
                page = search(filter=text, order_by=order_by, limit=limit, token=token)
                assert 0 < len(page.items) <= limit
                found += names_of(page.items)
                token = page.next_token
                if token is None:
                    break
            assert found == names_of(search(filter=text, order_by=order_by, limit=999).items)


@pytest.mark.parametrize(
    "token", ["x", "-", "1", "1-", "-1-2", "1-x", "1-" + "9" * 19, "9" * 500, "1-1-1", "é-1"]
)
def test_what_is_no_token_is_refused_in_a_short_line(workspace: Workspace, token: str) -> None:
    for _, search, _ in kinds(workspace):
        with pytest.raises(InvalidNameError, match="is no page token of a search") as refused:
            search(token=token)
        assert len(str(refused.value)) < 100


def test_a_token_of_another_search_finds_nothing_that_is_not_there(workspace: Workspace) -> None:
    for _, search, _ in kinds(workspace):
        assert search(token=f"{10**18 - 1}-{10**18 - 1}").items == ()
        assert search(token="0-0").items == ()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_something(workspace: Workspace, limit: int) -> None:
    for _, search, _ in kinds(workspace):
        with pytest.raises(InvalidNameError, match="a page has 1 or more"):
            search(limit=limit)


def test_what_is_made_between_pages_shifts_nothing(tmp_path: Path) -> None:
    made = filled(tmp_path / "ws")
    before = [f"m{number:04d}" for number in range(2500) if versions_of(number)]
    for search, wanted in (
        (made.model_names.search, before),
        (made.model_names.search_versions, None),
    ):
        found: list[str] = []
        token = None
        for number in range(100):
            page = search(limit=900, token=token)
            found += names_of(page.items)
            add(made.root, f"a{search.__name__}", range(number * 3, number * 3 + 3))
            token = page.next_token
            if token is None:
                break
        assert len(found) == len(set(found))
        if wanted is not None:
            assert found == wanted
        else:
            assert {name for name in found if name.startswith("m")} == {
                f"m{number:04d}:{version}"
                for number in range(2500)
                for version in versions_of(number)
            }


class Traced(Database):
    """Counts statements, and the steps of SQLite's machine."""

    statements = 0
    steps = 0

    def _connect(self, *, is_of_thread: bool = True) -> sqlite3.Connection:
        connection = super()._connect(is_of_thread=is_of_thread)

        def count() -> int:
            self.steps += 1
            return 0

        def trace(statement: str) -> None:
            self.statements += 1

        connection.set_progress_handler(count, 1)
        connection.set_trace_callback(trace)
        return connection


def test_only_the_records_of_a_page_are_read(tmp_path: Path) -> None:
    few, many = filled(tmp_path / "few", 100), filled(tmp_path / "many", 2500)
    counted = []
    for made in (few, many):
        database = Traced(made.root / "workspace.db")
        names = ModelNames(database)
        assert len(names.search(limit=9).items) == 9
        steps = database.steps
        assert len(names.search_versions(limit=9).items) == 9
        assert len(names.search_versions(filter="name = 'm0005'", limit=9).items) == 3
        counted.append((database.statements, steps))
    assert counted[0][0] == counted[1][0]  # however many there are
    assert counted[1][1] < 1.2 * counted[0][1]  # and names are found along an index


@pytest.mark.parametrize("order_by", [(), ("metrics.f1",), ("metrics.f1 DESC",), ("metrics.x",)])
def test_logged_models_among_many_come_as_among_few(
    workspace: Workspace, order_by: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = workspace.tracking.logged_models
    ids = [each.id for each in workspace.tracking.experiments.list()]
    wanted = list(models.search(experiments=ids, order_by=order_by).items)
    assert len(wanted) > 5
    monkeypatch.setattr(logged_search, "RUNS", 1)
    for limit in (1, 3, len(wanted)):
        got: list[LoggedModel] = []
        token = None
        while True:
            page = models.search(experiments=ids, order_by=order_by, limit=limit, token=token)
            got += page.items
            token = page.next_token
            if token is None:
                break
        assert got == wanted
    assert models.search(experiments=[ids[0]], order_by=order_by).items == tuple(
        each for each in wanted if each.experiment_id == ids[0]
    )
