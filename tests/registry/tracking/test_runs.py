"""Runs: made, written to, ended, changed, deleted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.errors import (
    ImmutableError,
    InUseError,
    InvalidNameError,
    NotFoundError,
)
from registry.tracking import LifeTakenError, RunRecord, Tracking
from registry.tracking.records import DEAD
from tests.registry.tracking.conftest import Clock


def test_a_run_is_numbered_within_its_experiment_which_appears(tracking: Tracking) -> None:
    made = [tracking.runs.create(name) for name in ("a", "a", "b", "a")]
    assert [run.reference for run in made] == ["a:1", "a:2", "b:1", "a:3"]
    assert len({run.id for run in made}) == 4
    assert {e.name: e.runs for e in tracking.experiments.list()} == {"a": 3, "b": 1, "Default": 0}


def test_a_run_has_what_it_was_made_with(tracking: Tracking, clock: Clock) -> None:
    made = tracking.runs.create(
        "digits",
        name="first",
        user="ada",
        source="train.py",
        tags={"t": "1"},
        params={"p": "2"},
        properties={"q": "3"},
        status="scheduled",
    )
    assert made == tracking.runs.get("digits:1")
    assert (made.tags, made.params, made.properties) == ({"t": "1"}, {"p": "2"}, {"q": "3"})
    assert (made.started_ms, made.ended_ms, made.status) == (clock.now_ms, None, "scheduled")


def test_a_run_is_found_by_reference_id_and_prefix(tracking: Tracking, run: RunRecord) -> None:
    for ref in ("digits:1", run.id, run.id[:8]):
        assert tracking.runs.get(ref) == run
    odd = tracking.runs.create("a:b c")
    assert tracking.runs.get("a:b c:1") == odd


@pytest.mark.parametrize(
    "ref", ["", "digits", "digits:2", "digits:x", "digits:", "zz", "abc", "digits:" + "9" * 30, "'"]
)
def test_what_is_no_run_is_not_found(tracking: Tracking, run: RunRecord, ref: str) -> None:
    with pytest.raises(NotFoundError):
        tracking.runs.get(ref)


def test_a_prefix_of_several_ids_says_so(tracking: Tracking) -> None:
    ids = iter(["abcd" + "0" * 28, "abcd" + "1" * 28])
    tracking.runs._random_id = lambda: next(ids)
    tracking.runs.create("a")
    tracking.runs.create("a")
    with pytest.raises(NotFoundError, match="several runs begin with abcd"):
        tracking.runs.get("abcd")


def test_all_of_a_batch_is_kept_or_nothing(tracking: Tracking, run: RunRecord) -> None:
    tracking.runs.log(run.id, params={"p": "1"})
    with pytest.raises(ImmutableError, match="param 'p' is '1' and cannot become '2'"):
        tracking.runs.log(
            run.id, points=[("a", 1.0, 0, 0)], params={"n": "1", "p": "2"}, tags={"t": "1"}
        )
    after = tracking.runs.get(run.id)
    assert (after.params, after.tags, after.metrics) == ({"p": "1"}, {}, {})
    tracking.runs.log(run.id, params={"p": "1", "n": "1"})
    assert tracking.runs.get(run.id).params == {"n": "1", "p": "1"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": [("a\n", 1.0, 0, 0)]},
        {"values": [("a", "nonsense", 0, "{}")]},
        {"values": [("", "list", 0, "[]")]},
        {"values": [("a", "list", 2**63, "[]")]},
        {"values": [("a", "list", 0, "x" * (4 * 1024 * 1024 + 1))]},
        {"params": {"a": "x" * 6001}},
        {"tags": {"a\0": "x"}},
    ],
)
def test_a_batch_with_one_mistake_is_refused(
    tracking: Tracking, run: RunRecord, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidNameError):
        tracking.runs.log(run.id, **wrong)
    assert tracking.runs.get(run.id) == run


def test_a_run_that_is_not_there_takes_nothing(tracking: Tracking) -> None:
    with pytest.raises(NotFoundError):
        tracking.runs.log("0" * 32, points=[("a", 1.0, 0, 0)])


def test_tags_change_and_properties_do_not(tracking: Tracking, run: RunRecord) -> None:
    tracking.runs.tag("digits:1", set={"a": "1", "b": "2"})
    assert tracking.runs.tag(run.id, set={"a": "3"}, remove=["b", "c"]).tags == {"a": "3"}
    tracking.runs.add_properties(run.id, {"p": "1"})
    assert tracking.runs.add_properties(run.id, {"p": "1", "q": "2"}).properties == {
        "p": "1",
        "q": "2",
    }
    with pytest.raises(ImmutableError, match="use a tag"):
        tracking.runs.add_properties(run.id, {"p": "2"})


def test_a_run_has_a_thousand_tags_at_most(tracking: Tracking, run: RunRecord) -> None:
    tracking.runs.tag(run.id, set={str(n): "" for n in range(1000)})
    with pytest.raises(ImmutableError, match="at most 1000"):
        tracking.runs.tag(run.id, set={"one more": ""})
    assert len(tracking.runs.get(run.id).tags) == 1000


def test_status_name_and_end_change(tracking: Tracking, run: RunRecord, clock: Clock) -> None:
    clock.now_ms += 5000
    ended = tracking.runs.update(run.id, status="finished", name="second")
    assert (ended.status, ended.name, ended.ended_ms) == ("finished", "second", clock.now_ms)
    again = tracking.runs.update(run.id, status="running")
    assert (again.status, again.ended_ms, again.name) == ("running", None, "second")
    with pytest.raises(InvalidNameError):
        tracking.runs.update(run.id, name="\x1b[2J")


def test_no_run_ends_before_it_began(tracking: Tracking, run: RunRecord, clock: Clock) -> None:
    clock.now_ms -= 3_600_000
    assert tracking.runs.update(run.id, status="failed").ended_ms == run.started_ms


def test_an_end_says_why(tracking: Tracking) -> None:
    run, life = tracking.runs.begin("digits")
    ended = tracking.runs.end(run.id, "failed", cause="x" * 2000, life=life)
    assert ended is not None
    assert (ended.status, len(ended.cause or "")) == ("failed", 1000)
    assert not list((tracking.root / "runs").iterdir())


def test_children_go_to_any_depth(tracking: Tracking, run: RunRecord) -> None:
    parent = run
    for depth in range(20):
        parent = tracking.runs.create("digits", name=str(depth), parent=parent.id)
    assert [c.name for c in tracking.runs.children("digits:1")] == ["0"]
    assert len(tracking.runs.children("digits:1", recursive=True)) == 20
    assert parent.parent == tracking.runs.get("digits:20").id
    with pytest.raises(NotFoundError):
        tracking.runs.create("digits", parent="0" * 32)


def test_an_environment_is_kept_once_and_goes_with_its_last_run(tracking: Tracking) -> None:
    runs = [tracking.runs.create("a") for _ in range(2)]
    for run in runs:
        tracking.runs.describe(run.id, revision="0" * 40, environment='{"python":"3.11"}')
    digests = {tracking.runs.get(run.id).environment for run in runs}
    (digest,) = digests
    assert digest is not None
    assert tracking.runs.environment(digest) == '{"python":"3.11"}'
    tracking.runs.remove("a:1")
    assert tracking.runs.environment(digest) is not None
    tracking.runs.remove("a:2")
    assert tracking.runs.environment(digest) is None


def test_deleted_is_hidden_and_comes_back(tracking: Tracking, run: RunRecord) -> None:
    tracking.runs.delete("digits:1")
    assert tracking.runs.search().runs == ()
    assert [r.id for r in tracking.runs.search(view="deleted").runs] == [run.id]
    assert tracking.runs.get(run.id).is_deleted
    tracking.runs.restore("digits:1")
    assert [r.id for r in tracking.runs.search().runs] == [run.id]


def test_a_deleted_experiment_takes_its_runs_along_and_brings_them_back(
    tracking: Tracking, run: RunRecord
) -> None:
    gone = tracking.runs.create("digits")
    tracking.runs.delete(gone.id)
    tracking.experiments.delete("digits")
    assert tracking.runs.search().runs == ()
    with pytest.raises(InvalidNameError, match="is deleted"):
        tracking.runs.create("digits")
    with pytest.raises(ImmutableError, match="is deleted"):
        tracking.runs.create(run.experiment_id)
    tracking.experiments.restore("digits")
    assert [r.id for r in tracking.runs.search().runs] == [run.id]
    assert tracking.runs.get(gone.id).is_deleted


def test_a_removed_run_leaves_nothing(tracking: Tracking, run: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    tracking.runs.log(
        run.id,
        points=[("a", 1.0, 0, 0)],
        values=[("l", "list", 0, "[]")],
        params={"p": ""},
        tags={"t": ""},
    )
    tracking.files.upload(run.id, tmp_path / "f", "f")
    tracking.lives.log(run.id).parent.mkdir(exist_ok=True)
    tracking.lives.log(run.id).write_text("log")
    tracking.runs.remove("digits:1")
    with pytest.raises(NotFoundError):
        tracking.runs.get(run.id)
    tables = ("run_params", "run_tags", "run_metrics", "metric_points", "metric_blocks")
    with tracking.database.read() as connection:
        for table in (*tables, "run_values", "run_files", "runs"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    assert not tracking.lives.log(run.id).exists()
    assert tracking.runs.create("digits").reference == "digits:2"


def test_a_run_in_use_cannot_be_removed(
    workspace: Workspace, tracking: Tracking, run: RunRecord, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_text("x")
    workspace.models.register(tmp_path / "m.bin", name="m", run=run.id)
    with pytest.raises(InUseError, match="run digits:1 is used by model m:1; delete") as caught:
        tracking.runs.remove("digits:1")
    assert caught.value.users == ("m:1",)
    child = tracking.runs.create("digits", parent=run.id)
    workspace.models.delete("m:1")
    with pytest.raises(InUseError, match="is used by child run digits:2"):
        tracking.runs.remove("digits:1")
    tracking.runs.remove(child.id)
    tracking.runs.remove("digits:1")


def test_a_running_run_cannot_be_removed(tracking: Tracking) -> None:
    run, life = tracking.runs.begin("digits")
    with pytest.raises(ImmutableError, match="is running"):
        tracking.runs.remove(run.id)
    tracking.runs.end(run.id, "killed", life=life)
    tracking.runs.remove(run.id)


def test_a_model_of_a_run_that_is_not_there_is_not_registered(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_text("x")
    with pytest.raises(NotFoundError):
        workspace.models.register(tmp_path / "m.bin", name="m", run="0" * 32)
    assert workspace.models.list() == []


def test_cancel_asks_and_a_run_that_ended_refuses(tracking: Tracking) -> None:
    run, life = tracking.runs.begin("digits")
    assert not tracking.runs.is_cancelled(run.id)
    assert tracking.runs.cancel("digits:1").cancel_requested
    assert tracking.runs.is_cancelled(run.id)
    tracking.runs.end(run.id, "killed", life=life)
    with pytest.raises(ImmutableError, match="has ended already: killed"):
        tracking.runs.cancel("digits:1")


def test_a_scheduled_run_is_taken_by_one_process(tracking: Tracking) -> None:
    made = tracking.runs.create("digits", status="scheduled")
    run, life = tracking.runs.take(made.id)
    assert run.status == "running"
    with pytest.raises(LifeTakenError):
        tracking.runs.take(made.id)
    tracking.runs.end(run.id, "finished", life=life)
    again, life = tracking.runs.take(made.id)
    assert (again.status, again.ended_ms) == ("running", None)
    tracking.runs.end(run.id, "finished", life=life)


def test_a_run_whose_life_is_lost_has_failed(tracking: Tracking, clock: Clock) -> None:
    run, life = tracking.runs.begin("digits")
    life.beat(run.started_ms + 4000)
    life._close()
    seen = tracking.runs.get(run.id)
    assert (seen.status, seen.cause, seen.ended_ms) == ("failed", DEAD, run.started_ms + 4000)
    assert [r.id for r in tracking.runs.search(filter="status = 'FAILED'").runs] == [run.id]
    assert not list((tracking.root / "runs").iterdir())
    assert tracking.runs.get(run.id) == seen


def test_values_that_json_and_sql_do_not_have_come_back(tracking: Tracking, run: RunRecord) -> None:
    given = [math.nan, math.inf, -math.inf, 0.0, 5e-324, 1.7976931348623157e308]
    tracking.runs.log(run.id, points=[("a", value, None, 0) for value in given])
    history = [point.value for point in tracking.metrics.history(run.id, "a")]
    assert repr(history) == repr(given)
    metric = tracking.metrics.latest(run.id)["a"]
    assert (metric.min, metric.max, metric.count) == (-math.inf, math.inf, 6)
    tracking.runs.log(run.id, points=[("b", math.nan, None, 0)])
    only = tracking.metrics.latest(run.id)["b"]
    assert all(math.isnan(value) for value in (only.value, only.min, only.max))
