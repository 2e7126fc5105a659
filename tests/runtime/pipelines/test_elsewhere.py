"""What must have happened between two looks at a pipeline that a service carries out."""

from __future__ import annotations

from typing import Any

from runtime.pipelines import Event, PipelineView, StepView
from runtime.pipelines.step_lines import events_between


def _view(*steps: StepView) -> PipelineView:
    return PipelineView("p", "p:1", "a" * 32, "running", None, {}, 0, None, steps, ())


def _step(state: Any, **more: Any) -> StepView:
    return StepView("train", "script", "local", (), state, **more)


def test_a_step_is_told_from_its_start_to_its_end() -> None:
    looks = [
        _view(_step("waiting")),
        _view(_step("running", run="p:2")),
        _view(_step("running", run="p:2")),
        _view(_step("finished", run="p:2", made="m:1")),
    ]
    told = [list(events_between(*each)) for each in zip([None, *looks[:-1]], looks, strict=True)]
    assert told == [
        [],
        [Event("started", "train", "p:2")],
        [],
        [Event("finished", "train", "p:2", "m:1")],
    ]


def test_what_was_quicker_than_a_look_is_told_too() -> None:
    assert list(events_between(None, _view(_step("finished", run="p:2")))) == [
        Event("started", "train", "p:2"),
        Event("finished", "train", "p:2", ""),
    ]
    reused = _view(_step("reused", run="p:3", reused_from="p:2", made="m:1"))
    assert list(events_between(None, reused)) == [Event("reused", "train", "p:2", "m:1")]


def test_a_try_that_failed_and_the_next_one() -> None:
    before = _view(_step("running", run="p:2"))
    again = _view(_step("running", run="p:3", tries=2))
    assert [each.what for each in events_between(before, again)] == ["again", "started"]
    failed = _view(_step("failed", run="p:3", cause="no luck"))
    assert list(events_between(again, failed)) == [Event("failed", "train", "p:3", "no luck")]
