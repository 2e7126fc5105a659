"""Searching runs: by comparison with the same search in plain Python."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import Workspace
from registry.errors import InvalidNameError
from registry.tracking import RunRecord, Tracking, search
from registry.tracking.metrics import write_points
from tests.registry.tracking.conftest import Clock

Test = Callable[[RunRecord], bool]
MISSING = object()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """Sixty runs of three experiments, with gaps, ties and NaN."""
    workspace = Workspace.init(tmp_path_factory.mktemp("many") / "ws", base="none")
    tracking = workspace.tracking
    rng = random.Random(1)
    with tracking.database.held():  # otherwise each write syncs the whole database
        for number in range(60):
            run = tracking.runs.create(
                f"e{number % 3}",
                name=f"run {number % 10}",
                user="ada",
                started_ms=1000 * (number // 2),
                params={"depth": str(number % 4)} if number % 5 else {},
                tags={"stage": rng.choice(["a", "B", "b"])},
            )
            if number % 4:
                value = math.nan if number % 7 == 0 else round(rng.random(), 1)
                tracking.runs.log(run.id, points=[("loss", value, None, 0)])
            if number % 2:
                tracking.runs.update(run.id, status="finished", ended_ms=run.started_ms + number)
    return tracking


def _loss(run: RunRecord) -> float:
    return run.metrics["loss"].value if "loss" in run.metrics else math.nan


CONDITIONS: list[tuple[str, Test]] = [
    ("metrics.loss > 0.5", lambda r: _loss(r) > 0.5),
    ("metrics.loss <= 0.5", lambda r: _loss(r) <= 0.5),
    ("metrics.loss != 0.5", lambda r: "loss" in r.metrics and _loss(r) != 0.5),
    ("metrics.loss IS NULL", lambda r: "loss" not in r.metrics),
    ("metrics.nothing > 0", lambda r: False),
    ("params.depth = '3'", lambda r: r.params.get("depth") == "3"),
    ("params.depth != '3'", lambda r: r.params.get("depth", "3") != "3"),
    ("params.depth IS NOT NULL", lambda r: "depth" in r.params),
    ("params.depth IN ('0', '1')", lambda r: r.params.get("depth") in ("0", "1")),
    ("tags.stage LIKE 'b%'", lambda r: r.tags["stage"].startswith("b")),
    ("tags.stage ILIKE 'b'", lambda r: r.tags["stage"].lower() == "b"),
    ("status = 'FINISHED'", lambda r: r.status == "finished"),
    ("attributes.status != 'finished'", lambda r: r.status != "finished"),
    ("run_name = 'run 3'", lambda r: r.name == "run 3"),
    ("start_time >= 15000", lambda r: r.started_ms >= 15000),
    ("end_time < 20000", lambda r: r.ended_ms is not None and r.ended_ms < 20000),
    ("experiment = 'e1'", lambda r: r.experiment == "e1"),
    ("number <= 4", lambda r: r.number <= 4),
    ("duration > 20", lambda r: r.ended_ms is not None and r.ended_ms - r.started_ms > 20),
    ("revision = 'x'", lambda r: False),
    ("parent = 'x'", lambda r: False),
]
ORDERS = [
    *("metrics.loss ASC", "metrics.loss DESC", "params.depth", "params.depth DESC"),
    *("tags.stage", "start_time ASC", "start_time DESC", "end_time", "run_name DESC", "status"),
    *("metrics.nothing", "experiment", "duration DESC"),
]


def found(tracking: Tracking, **asked: object) -> list[RunRecord]:
    """All that a search finds, page by page."""
    runs: list[RunRecord] = []
    token = None
    while True:
        page = tracking.runs.search(token=token, **asked)  # type: ignore[arg-type]
        runs += page.runs
        token = page.next_token
        if token is None:
            return runs


@pytest.mark.parametrize("text", [text for text, _ in CONDITIONS])
def test_a_condition_finds_what_is_true_and_nothing_else(many: Tracking, text: str) -> None:
    is_true = dict(CONDITIONS)[text]
    everything = many.runs.search().runs
    assert found(many, filter=text) == [run for run in everything if is_true(run)]


def _value(run: RunRecord, field: str) -> object:
    if field == "metrics.loss":
        return run.metrics["loss"].value if "loss" in run.metrics else MISSING
    if field == "metrics.nothing":
        return MISSING
    if field == "params.depth":
        return run.params.get("depth", MISSING)
    if field == "tags.stage":
        return run.tags["stage"]
    ended = MISSING if run.ended_ms is None else run.ended_ms
    duration = MISSING if run.ended_ms is None else run.ended_ms - run.started_ms
    plain: dict[str, object] = {
        "start_time": run.started_ms,
        "end_time": ended,
        "run_name": run.name,
        "status": run.status,
        "experiment": run.experiment,
        "duration": duration,
    }
    return plain[field]


@pytest.mark.parametrize("walks", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_sorts_and_puts_what_has_no_value_last(
    many: Tracking, order: str, walks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "RARE", 1 if walks else 10_000)
    field, _, direction = order.partition(" ")
    runs = found(many, order_by=[order], limit=25)
    assert len({run.id for run in runs}) == len(runs) == 60
    values = [_value(run, field) for run in runs]
    there = [v for v in values if v is not MISSING and v == v]
    assert there == sorted(there, reverse=direction == "DESC")  # type: ignore[type-var]
    ranks = [0 if v is not MISSING and v == v else 1 if v is not MISSING else 2 for v in values]
    assert ranks == sorted(ranks)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chosen=st.lists(st.sampled_from(CONDITIONS), max_size=3),
    order_by=st.lists(st.sampled_from(ORDERS), max_size=2),
    limit=st.integers(9, 61),
    rare=st.sampled_from([1, 5, 10_000]),
)
def test_pages_hold_each_run_once_whatever_the_filter_and_the_order(
    many: Tracking,
    monkeypatch: pytest.MonkeyPatch,
    chosen: list[tuple[str, Test]],
    order_by: list[str],
    limit: int,
    rare: int,
) -> None:
    monkeypatch.setattr(search, "RARE", rare)
    text = " AND ".join(condition for condition, _ in chosen)
    runs = found(many, filter=text, order_by=order_by, limit=limit)
    assert runs == list(many.runs.search(filter=text, order_by=order_by).runs)
    wanted = {r.id for r in many.runs.search().runs if all(test(r) for _, test in chosen)}
    assert {run.id for run in runs} == wanted
    assert len(runs) == len(wanted)


def test_runs_that_begin_meanwhile_shift_no_page(tracking: Tracking, clock: Clock) -> None:
    for _ in range(4):
        tracking.runs.create("a")
    first = tracking.runs.search(limit=2)
    clock.now_ms += 1000
    tracking.runs.create("a")
    second = tracking.runs.search(limit=2, token=first.next_token)
    numbers = [run.number for run in (*first.runs, *second.runs)]
    assert (numbers, second.next_token) == ([4, 3, 2, 1], None)


def test_only_these_experiments_and_none_of_an_empty_list(many: Tracking) -> None:
    e1 = many.experiments.get("e1").id
    assert {r.experiment for r in many.runs.search(experiments=[e1]).runs} == {"e1"}
    assert many.runs.search(experiments=[]).runs == ()
    assert many.runs.search(experiments=[e1, 999]).runs == many.runs.search(experiments=[e1]).runs


@pytest.mark.parametrize(
    "token", ["x", "1", "1-", "-1", "1-2-3", "-", "1-" + "9" * 30, "\uff11-\uff12", "1 -2"]
)
def test_a_token_that_no_page_gave_is_refused(tracking: Tracking, token: str) -> None:
    with pytest.raises(InvalidNameError, match="is no page token"):
        tracking.runs.search(token=token)


@pytest.mark.parametrize("limit", [0, -1, 50_001])
def test_a_page_has_a_sensible_size(tracking: Tracking, limit: int) -> None:
    with pytest.raises(InvalidNameError, match="a page has 1 to 50000"):
        tracking.runs.search(limit=limit)


def test_a_long_list_goes_along_an_index(many: Tracking) -> None:
    """No search of a page sorts all runs there are."""
    for order_by in (
        [],
        ["start_time ASC"],
        ["run_name"],
        ["end_time DESC"],
        ["status"],
        ["status DESC"],
    ):
        wanted = search.plan(
            filter="", order_by=order_by, experiments=None, view="active", limit=50, token=None
        )
        sql, values = search.statement(wanted, 60, ())
        with many.database.read() as connection:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
        assert "TEMP B-TREE" not in " ".join(row["detail"] for row in plan)


def test_points_of_two_metrics_of_one_run_stay_apart(tracking: Tracking, run: RunRecord) -> None:
    with tracking.database.write() as connection:
        write_points(connection, run.key, [("a", 1.0, None, 0), ("b", 2.0, None, 0)])
        write_points(connection, run.key, [("c", 3.0, None, 0), ("a", 4.0, None, 0)])
    assert {k: m.value for k, m in tracking.metrics.latest(run.id).items()} == {
        "a": 4.0,
        "b": 2.0,
        "c": 3.0,
    }


@pytest.mark.parametrize("rare", [2, 5, 20])
@pytest.mark.parametrize("second", ["metrics.loss DESC", "start_time ASC", "tags.stage"])
@pytest.mark.parametrize("first", ["params.depth", "tags.stage DESC", "metrics.loss"])
def test_by_several_orders_a_page_is_that_of_all_sorted(
    many: Tracking, first: str, second: str, rare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = many.runs.search(order_by=[first, second, "run_name"]).runs
    assert len(everything) == 60
    monkeypatch.setattr(search, "RARE", rare)
    for limit in (1, 9, 30):
        page = many.runs.search(order_by=[first, second, "run_name"], limit=limit)
        assert page.runs == everything[:limit]
        assert found(many, order_by=[first, second, "run_name"], limit=limit) == list(everything)
