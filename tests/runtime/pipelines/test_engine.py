"""Runs of pipelines whose steps do what they are told: order, failures, retries, cancel."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry.errors import RegistryError
from runtime.pipelines import Pipeline, PipelineError
from runtime.pipelines.here import cancel
from runtime.pipelines.own_run import OwnRun
from runtime.pipelines.port import Job
from tests.runtime.pipelines.conftest import Field, chain, heard, script, states

WAIT_S = 60.0


def fail(job: Job, own: OwnRun) -> Mapping[str, bytes]:
    own.say("about to fail")
    raise RegistryError("it is broken")


def test_steps_run_after_those_that_they_need(field: Field) -> None:
    view = field.run(chain("a", "b", "c"))
    assert (view.status, view.cause) == ("finished", None)
    assert field.ran == ["a", "b", "c"]
    assert view.edges == (("a", "b"), ("b", "c"))
    children = field.tracking.runs.children(view.run_id)
    assert [(child.name, child.status) for child in children] == [
        (name, "finished") for name in "abc"
    ]
    assert {child.parent for child in children} == {view.run_id}


def test_independent_steps_run_at_once_as_many_as_may(field: Field) -> None:
    together = threading.Barrier(3)
    running: list[str] = []
    most = 0

    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        nonlocal most
        running.append(job.step.name)
        together.wait(WAIT_S)
        most = max(most, len(running))
        together.wait(WAIT_S)
        running.remove(job.step.name)
        return {}

    pipeline = Pipeline("wide", [script(name) for name in "abcdef"], parallel=3)
    view = field.run(pipeline, dict.fromkeys("abcdef", act), reuse=False)
    assert view.status == "finished"
    assert most == 3


def test_a_failed_step_skips_those_that_need_it_and_others_finish(field: Field) -> None:
    steps = [script("a"), script("b", "a"), script("c", "b"), script("d")]
    view = field.run(Pipeline("p", steps), {"a": fail})
    assert states(view) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "finished"}
    assert (view.status, view.cause) == ("failed", "step 'a' failed: it is broken")
    assert view.step("b").cause == "step 'a', which it needs, failed"
    assert view.step("c").cause == "step 'b', which it needs, was skipped"
    assert "about to fail" in field.tracking.log(view.step("a").run_id or "").decode()


def test_a_step_is_tried_again_as_often_as_it_says(field: Field) -> None:
    tries = []

    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        tries.append(job.step.name)
        return fail(job, own) if len(tries) < 3 else {}

    view = field.run(Pipeline("p", [script("a", retries=2), script("b", "a")]), {"a": act})
    assert (view.status, len(tries), view.step("a").tries) == ("finished", 3, 3)
    assert heard(field.events, "again", "failed", "finished") == [
        ("again", "a"),
        ("again", "a"),
        ("finished", "a"),
        ("finished", "b"),
    ]
    tries.clear()
    again = field.run(Pipeline("q", [script("a", retries=1)]), {"a": act}, reuse=False)
    assert (again.status, len(tries)) == ("failed", 2)


def test_what_nobody_foresaw_is_a_failed_step_too(field: Field) -> None:
    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        raise ZeroDivisionError("oh")

    view = field.run(Pipeline("p", [script("a"), script("b")]), {"a": act})
    assert states(view) == {"a": "failed", "b": "finished"}
    assert view.step("a").cause == "ZeroDivisionError: oh"


def test_a_resume_goes_on_where_it_failed(field: Field) -> None:
    steps = [script("a"), script("b", "a"), script("c", "b"), script("d", "a")]
    first = field.run(Pipeline("p", steps), {"b": fail})
    assert states(first) == {"a": "finished", "b": "failed", "c": "skipped", "d": "finished"}
    field.ran.clear()
    second = field.drive(first.run_id)
    assert second.status == "finished"
    assert field.ran == ["b", "c"]
    assert second.step("a") == first.step("a")
    assert second.step("b").tries == 2
    with pytest.raises(PipelineError, match="nothing to resume"):
        field.drive(first.run_id)


def test_a_cancel_ends_all_that_runs_and_starts_nothing(field: Field) -> None:
    begun = threading.Barrier(3)

    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        begun.wait(WAIT_S)
        deadline = threading.Event()
        for _ in range(int(WAIT_S * 100)):
            own.check()
            deadline.wait(0.01)
        raise AssertionError("nobody cancelled it")

    def ask() -> None:
        begun.wait(WAIT_S)
        cancel(field.workspace, run.id)

    run = field.keep(Pipeline("p", [script("a"), script("b"), script("c", "a")]))
    asker = threading.Thread(target=ask)
    asker.start()
    view = field.drive(run.id, {"a": act, "b": act})
    asker.join()
    assert (view.status, view.cause) == ("killed", "cancelled on request")
    assert states(view) == {"a": "cancelled", "b": "cancelled", "c": "skipped"}
    field.ran.clear()
    assert field.drive(run.id).status == "finished"
    assert field.ran[-1] in ("b", "c")


def test_a_cancel_of_one_step_is_its_failure(field: Field) -> None:
    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        field.tracking.runs.cancel(own.id)
        own._next_s = 0
        own.check()
        return {}

    view = field.run(Pipeline("p", [script("a"), script("b", "a"), script("c")]), {"a": act})
    assert states(view) == {"a": "cancelled", "b": "skipped", "c": "finished"}
    assert view.status == "failed"
    assert view.cause == "step 'a' was cancelled: cancelled on request"


def test_what_is_cancelled_before_it_begins_never_does(field: Field) -> None:
    run = field.keep(chain("a"))
    cancel(field.workspace, run.id)
    view = field.drive(run.id)
    assert (view.status, view.cause) == ("killed", "cancelled before it began")
    assert field.ran == []


def test_of_two_runners_the_second_is_refused(field: Field) -> None:
    refused: list[str] = []

    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        with pytest.raises(PipelineError) as caught:
            field.drive(job.parent.id)
        refused.append(str(caught.value))
        return {}

    view = field.run(chain("a", "b"), {"a": act})
    assert view.status == "finished"
    assert "run by another process" in refused[0]
    assert field.ran == ["a", "b"]


def test_a_chain_of_many_steps_runs(field: Field) -> None:
    names = [f"s{number}" for number in range(20)]
    assert field.run(chain(*names)).count("finished") == 20


def test_a_run_that_is_no_pipelines_is_refused(field: Field, tmp_path: Path) -> None:
    run = field.tracking.runs.create("other")
    with pytest.raises(PipelineError, match="no pipeline's"):
        field.drive(run.id)
    with pytest.raises(PipelineError, match="no pipeline's"):
        cancel(field.workspace, run.id)
