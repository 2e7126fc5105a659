"""A workspace, and pipelines whose steps do what a test tells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.tracking import RunRecord
from runtime.pipelines import Event, Pipeline, PipelineView, RunConfig, ScriptStep
from runtime.pipelines.attempt import Runners
from runtime.pipelines.here import drive, keep
from runtime.pipelines.memory import Act, MemoryRunner
from runtime.pipelines.reading import with_parameters


class Field:
    """Where pipelines run in a test."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.tracking = workspace.tracking
        self.events: list[Event] = []
        self.ran: list[str] = []
        """Steps whose work was done, in that order."""

    def runners(
        self, acts: Mapping[str, Act] | None = None, facts_of: Mapping[str, Any] | None = None
    ) -> Runners:
        runner = MemoryRunner(self.tracking, acts, facts_of)
        return {"script": runner, "register": runner, "image": runner, "deploy": runner}

    def keep(self, pipeline: Pipeline) -> RunRecord:
        return keep(self.workspace, with_parameters(pipeline, {}))

    def drive(
        self,
        ref: str,
        acts: Mapping[str, Act] | None = None,
        *,
        facts_of: Mapping[str, Any] | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> PipelineView:
        def hear(event: Event) -> None:
            self.events.append(event)
            if event.what == "finished":
                self.ran.append(event.step)
            if on_event is not None:
                on_event(event)

        runners = self.runners(acts, facts_of)
        return drive(self.workspace, ref, runners=runners, on_event=hear, **options)

    def run(
        self, pipeline: Pipeline, acts: Mapping[str, Act] | None = None, **options: Any
    ) -> PipelineView:
        return self.drive(self.keep(pipeline).id, acts, **options)


def script(
    name: str, *needs: str, inputs: Mapping[str, str] | None = None, **options: Any
) -> ScriptStep:
    return ScriptStep(name, RunConfig("s.py"), needs=needs, inputs=inputs or {}, **options)


def chain(*names: str) -> Pipeline:
    """Each gets what the one before wrote."""
    steps: list[ScriptStep] = []
    for number, name in enumerate(names):
        before = {"before": names[number - 1]} if number else {}
        steps.append(script(name, inputs=before))
    return Pipeline("chain", steps)


def states(view: PipelineView) -> dict[str, str]:
    return {step.name: step.state for step in view.steps}


def heard(events: Sequence[Event], *whats: str) -> list[tuple[str, str]]:
    return [(event.what, event.step) for event in events if event.what in whats]


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(Workspace.init(tmp_path / ".inferry", base="none"))
