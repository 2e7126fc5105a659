"""What is shown of a run of a pipeline: while it runs, after it has ended, from elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from registry.tracking import RunRecord
from runtime.cli.pipeline_progress import Told
from runtime.pipelines import Event, Pipeline, pipeline_view
from runtime.pipelines.own_run import OwnRun
from runtime.pipelines.port import Job
from runtime.pipelines.records import ROUND, STEP
from runtime.pipelines.view import view_of
from tests.runtime.conftest import Cli
from tests.runtime.pipelines.conftest import Field, chain, script, states
from tests.runtime.remote.served import serving

PIPELINE = Pipeline("p", [script("a", retries=1), script("b", "a"), script("c")])


def run(
    name: str,
    status: Literal["scheduled", "running", "finished", "failed", "killed"],
    *,
    round: str = "1",
) -> RunRecord:
    """``name`` "" is the parent."""
    marks = {ROUND: round, **({STEP: name} if name else {})}
    return RunRecord(
        1, "0" * 32, 1, "p", 1, name, None, status, None, "", "", None, None, 1000,
        None if status in ("running", "scheduled") else 2000, False, False, tags=marks,
    )  # fmt: skip


def test_a_run_that_is_made_ready_waits() -> None:
    view = view_of(PIPELINE, run("", "scheduled", round="0"), [], {})
    assert states(view) == dict.fromkeys("abc", "waiting")
    assert (view.status, view.edges, view.ended_ms) == ("scheduled", (("a", "b"),), None)


def test_while_it_runs_a_failed_step_with_attempts_left_skips_nothing() -> None:
    once = [run("a", "failed")]
    assert states(view_of(PIPELINE, run("", "running"), once, {}))["b"] == "waiting"
    twice = [*once, run("a", "failed")]
    view = view_of(PIPELINE, run("", "running"), twice, {})
    assert states(view) == {"a": "failed", "b": "skipped", "c": "waiting"}
    assert view.step("b").cause == "step 'a', which it needs, failed"
    assert states(view_of(PIPELINE, run("", "failed"), once, {}))["b"] == "skipped"


def test_after_a_resume_what_failed_before_waits() -> None:
    children = [run("a", "failed"), run("c", "finished")]
    view = view_of(PIPELINE, run("", "running", round="2"), children, {})
    assert states(view) == {"a": "waiting", "b": "waiting", "c": "finished"}
    assert view.step("a").tries == 1


def test_runs_that_are_no_steps_and_strange_tags_are_no_matter() -> None:
    children = [run("x", "failed"), run("a", "running", round="-5"), run("", "finished")]
    view = view_of(PIPELINE, run("", "running", round="many"), children, {})
    assert states(view) == {"a": "running", "b": "waiting", "c": "waiting"}


def test_it_is_seen_while_it_runs(field: Field) -> None:
    seen = []

    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        seen.append(states(pipeline_view(field.workspace, job.parent.id)))
        return {}

    field.run(chain("a", "b", "c"), {"b": act})
    assert seen == [{"a": "finished", "b": "running", "c": "waiting"}]


def test_a_step_that_still_runs_elsewhere_is_waited_for(field: Field) -> None:
    """Its runner is gone, but its own process lives."""
    parent = field.keep(chain("a", "b"))
    tags = {STEP: "a", ROUND: "0"}
    child, life = field.tracking.runs.begin("chain", parent=parent.id, name="a", tags=tags)
    gone, gone_life = field.tracking.runs.begin(
        "chain", parent=parent.id, name="b", tags={STEP: "b", ROUND: "0"}
    )
    gone_life._close()  # as the death of its process

    def on_event(event: Event) -> None:
        if event.what == "started" and event.step == "a":
            field.tracking.files.put(child.id, "outputs/name", [b"a"])
            field.tracking.runs.end(child.id, "finished", life=life)

    view = field.drive(parent.id, on_event=on_event)
    assert view.status == "finished"
    assert (view.step("a").run_id, view.step("a").tries) == (child.id, 1)
    assert view.step("b").tries == 2
    assert field.tracking.runs.get(gone.id).status == "failed"


def test_a_step_that_prints_without_end_waits_to_be_heard(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.pipelines.engine.MAX_UNHEARD", 10)
    heard = 0

    def act(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        for number in range(300):
            job.on_line(str(number))
        return {}

    def on_event(event: Event) -> None:
        nonlocal heard
        heard += event.what == "line"

    assert field.run(chain("a"), {"a": act}, on_event=on_event).status == "finished"
    assert heard == 300

    def refuse(event: Event) -> None:
        if event.what == "line":
            raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError):
        field.run(chain("a"), {"a": act}, reuse=False, on_event=refuse)
    assert threading.active_count() < 50
    assert field.tracking.runs.get("chain:3").status == "failed"


def test_lines_say_what_happens_and_print_nothing_that_a_terminal_acts_on() -> None:
    lines: list[str] = []
    now = [0.0]
    told = Told(lines.append, clock=lambda: now[0])
    told(Event("started", "a", "p:2"))
    told(Event("line", "a", text="\x1b[2J\tgo"))
    now[0] = 61.0
    told(Event("again", "a", "p:2", "no\nluck"))
    told(Event("started", "a", "p:3"))
    told(Event("finished", "a", "p:3", "m:1"))
    told(Event("reused", "b", "p:1"))
    told(Event("skipped", "c", text="step 'x', which it needs, failed"))
    told(Event("cancelling"))
    assert lines == [
        "a: started as p:2",
        "a | \\x1b[2J\\tgo",
        "a: failed after 1:01: no luck; it is tried again",
        "a: started as p:3",
        "a: finished after 0.0 s: m:1",
        "b: reused from p:1",
        "c: skipped: step 'x', which it needs, failed",
        "cancelling what runs",
    ]


def test_the_workspace_of_a_service_shows_its_pipelines(cli: Cli, tmp_path: Path) -> None:
    with serving({"default": tmp_path / "served"}) as served:
        field = Field(served.local())
        field.run(chain("a", "b"))
        where = ("--workspace", served.url)
        (row,) = json.loads(cli("pipeline", "list", "-o", "json", *where).stdout)
        assert (row["run"], row["steps"]) == ("chain:1", "2/2")
        shown = json.loads(cli("pipeline", "show", "chain:1", "-o", "json", *where).stdout)
        assert [step["state"] for step in shown["steps"]] == ["finished"] * 2
        assert "has ended already" in cli("pipeline", "cancel", "chain:1", *where).stderr
        refused = cli("pipeline", "resume", "chain:1", *where)
        assert (refused.code, refused.stderr.count("\n")) == (1, 1)
