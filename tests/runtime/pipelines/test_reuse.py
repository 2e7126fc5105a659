"""What is taken from an earlier run, and what is not any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from registry.blobs import BlobStore
from registry.paths import WorkspacePaths
from runtime.pipelines import ImageStep, Pipeline, PipelineView, RegisterStep, RunConfig, ScriptStep
from runtime.pipelines.here import drive
from runtime.pipelines.keys import chosen_files
from runtime.pipelines.memory import MemoryRunner
from runtime.pipelines.own_run import OwnRun
from runtime.pipelines.port import Job
from tests.runtime.pipelines.conftest import Field, chain, script, states

ALL = {"a": "reused", "b": "reused", "c": "reused"}


def again(field: Field, pipeline: Pipeline, **options: Any) -> dict[str, str]:
    return states(field.run(pipeline, **options))


@pytest.fixture
def first(field: Field) -> PipelineView:
    """A run of a, b and c, each of which gets what the one before wrote."""
    return field.run(chain("a", "b", "c"))


def test_what_has_not_changed_is_reused_and_says_from_where(
    field: Field, first: PipelineView
) -> None:
    field.ran.clear()
    second = field.run(chain("a", "b", "c"))
    assert (second.status, states(second), field.ran) == ("finished", ALL, [])
    assert [step.reused_from for step in second.steps] == [step.run for step in first.steps]
    third = field.run(chain("a", "b", "c"))
    assert [step.reused_from for step in third.steps] == [step.run for step in first.steps]


def test_another_pipeline_reuses_it_too(field: Field, first: PipelineView) -> None:
    assert again(field, Pipeline("other", chain("a", "b", "c").steps, experiment="e")) == ALL


def test_a_change_is_done_again_with_all_that_comes_of_it(
    field: Field, first: PipelineView
) -> None:
    def other(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        return {"name": b"something else"}

    changed = field.run(chain("a", "b", "c"), {"b": other}, facts_of={"b": "new"})
    assert states(changed) == {"a": "reused", "b": "finished", "c": "finished"}
    same = field.run(chain("a", "b", "c"), facts_of={"b": "newer"})
    assert states(same) == {"a": "reused", "b": "finished", "c": "reused"}  # b wrote the same


def test_who_does_not_want_it_does_all_again(field: Field, first: PipelineView) -> None:
    anew = dict.fromkeys("abc", "finished")
    assert again(field, chain("a", "b", "c"), reuse=False) == anew
    steps = [script("a", reuse=False), script("b", inputs={"before": "a"})]
    assert again(field, Pipeline("p", steps)) == {"a": "finished", "b": "reused"}


def test_how_a_step_is_run_is_no_change_but_what_it_runs_is(field: Field) -> None:
    def run(**options: Any) -> str:
        step = ScriptStep("a", RunConfig("s.py", **options.pop("config", {})), **options)
        return again(field, Pipeline("p", [step]))["a"]

    assert run() == "finished"
    assert run(retries=3, folder="elsewhere") == "reused"  # what is in it, the facts say
    assert run(config={"arguments": ("x",)}) == "finished"
    assert run(config={"environment": {"A": "1"}}) == "finished"
    assert run(config={"environment": {"A": "2"}}) == "finished"
    assert run(config={"environment": {"A": "1"}}) == "reused"


def test_what_has_failed_is_not_reused(field: Field) -> None:
    def fail(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        raise OSError("no")

    assert states(field.run(chain("a"), {"a": fail})) == {"a": "failed"}
    assert again(field, chain("a")) == {"a": "finished"}


def test_a_run_that_was_deleted_is_not_reused(field: Field, first: PipelineView) -> None:
    field.tracking.runs.delete(first.step("b").run or "")
    found = field.run(chain("a", "b", "c"))
    assert states(found) == {"a": "reused", "b": "finished", "c": "reused"}
    field.tracking.runs.remove(found.step("b").run or "")
    assert again(field, chain("a", "b", "c"))["b"] == "finished"


def test_a_run_whose_files_were_removed_is_not_reused(field: Field, first: PipelineView) -> None:
    field.tracking.files.remove(first.step("a").run_id or "", ["outputs/name"])
    assert again(field, chain("a", "b", "c")) == {"a": "finished", "b": "reused", "c": "reused"}


def test_a_run_whose_bytes_are_gone_is_not_reused(field: Field, first: PipelineView) -> None:
    (file,) = field.tracking.files.list(first.step("b").run_id or "")
    paths = WorkspacePaths(field.workspace.root)
    assert BlobStore(paths).has(file.digest)
    paths.blob(file.digest).unlink()
    assert again(field, chain("a", "b", "c"))["b"] == "finished"


def test_what_a_step_made_must_be_there(field: Field) -> None:
    steps = (script("a"), RegisterStep("m", files="a"), ImageStep("i", models=["m"]))
    runner = MemoryRunner(field.tracking)
    runners = dict.fromkeys(("script", "register", "image", "deploy"), runner)

    def run() -> dict[str, str]:
        kept = field.keep(Pipeline("p", steps))
        return states(drive(field.workspace, kept.id, runners=runners))  # type: ignore[arg-type]

    assert run() == dict.fromkeys("ami", "finished")
    assert run() == dict.fromkeys("ami", "reused")
    runner.gone.add("m")
    assert run() == {"a": "reused", "m": "finished", "i": "reused"}


def test_a_resume_does_again_what_was_reused_from_a_run_that_is_gone_now(
    field: Field, first: PipelineView
) -> None:
    def fail(job: Job, own: OwnRun) -> Mapping[str, bytes]:
        raise OSError("no")

    steps = (*chain("a", "b", "c").steps, script("d", "c"))
    failed = field.run(Pipeline("p", steps), {"d": fail})
    assert states(failed) == {**ALL, "d": "failed"}
    field.tracking.runs.delete(first.step("b").run or "")
    field.ran.clear()
    assert field.drive(failed.run_id).status == "finished"
    assert sorted(field.ran) == ["b", "d"]


def test_a_key_covers_what_a_source_means() -> None:
    files = {"a": "1", "d/b": "2", "d/e/c": "3", "dd": "4"}
    assert chosen_files(files, "") == files
    assert chosen_files(files, "a") == {"a": "1"}
    assert chosen_files(files, "d/e/c") == {"c": "3"}
    assert chosen_files(files, "d") == {"b": "2", "e/c": "3"}
    assert chosen_files(files, "e") == {}
