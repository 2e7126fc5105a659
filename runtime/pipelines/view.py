"""A run of a pipeline as one value: for the command line, the portal and programs.

view = pipeline_view(workspace, "digits:7")
[step.state for step in view.steps]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry import Workspace
from registry.tracking import RunRecord, Status
from runtime.pipelines.checks import graph_of
from runtime.pipelines.plan import Graph, State, plan
from runtime.pipelines.records import (
    DIGEST,
    MADE,
    PIPELINE,
    REUSED,
    URL,
    StepRun,
    read_kept,
    round_of,
    step_runs,
)
from runtime.pipelines.steps import AnyStep, Kind, PipelineSpec, steps_by_name, target_of


@dataclass(frozen=True, slots=True)
class StepView:
    """One step, after all that it needs. ``run`` is its latest try as EXPERIMENT:NUMBER, and
    ``run_id`` that run's id; None where there is none yet. ``reused_from``: EXPERIMENT:NUMBER of
    the run that was taken instead, or its id where that is gone. ``tries``: how many runs it has.
    ``cause``: why it failed, was cancelled or skipped. ``made``: what it made, such as digits:3."""

    name: str
    kind: Kind
    target: str
    needs: tuple[str, ...]
    state: State
    run: str | None = None
    run_id: str | None = None
    reused_from: str | None = None
    tries: int = 0
    cause: str | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    made: str = ""
    digest: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class PipelineView:
    """One run of a pipeline. ``edges``: what is needed, and the step that needs it."""

    name: str
    run: str
    run_id: str
    status: Status
    cause: str | None
    parameters: Mapping[str, str]
    started_ms: int
    ended_ms: int | None
    steps: tuple[StepView, ...]
    edges: tuple[tuple[str, str], ...]

    def step(self, name: str) -> StepView:
        """The one of this name, which is there."""
        return next(step for step in self.steps if step.name == name)

    def count(self, *states: State) -> int:
        """How many steps are in one of these states."""
        return sum(step.state in states for step in self.steps)


def pipeline_view(workspace: Workspace, ref: str) -> PipelineView:
    """Of the run with this id or EXPERIMENT:NUMBER. Raises NotFoundError, and PipelineError where
    it is no pipeline's."""
    tracking = workspace.tracking
    run = tracking.runs.get(ref)
    pipeline = read_kept(tracking, run)
    children = tracking.runs.children(run.id)
    origins = {child.tags[REUSED] for child in children if REUSED in child.tags}
    return view_of(pipeline, run, children, _references(workspace, origins))


def view_of(
    pipeline: PipelineSpec,
    run: RunRecord,
    children: Sequence[RunRecord],
    references: Mapping[str, str],
) -> PipelineView:
    """Pure. ``children``: the runs of its steps, in the order of their beginning; ``references``:
    EXPERIMENT:NUMBER of runs by id, as far as they are there."""
    graph = graph_of(pipeline)
    found = step_runs(graph, children, round_of(run), is_alive=not run.has_ended)
    skipped = _skipped(graph, found, run)
    by_name = steps_by_name(pipeline.steps)
    steps = tuple(
        _step_view(by_name[name], needed, found[name], skipped.get(name), references)
        for name, needed in graph.needs.items()
    )
    return PipelineView(
        run.tags.get(PIPELINE, pipeline.name),
        run.reference,
        run.id,
        run.status,
        run.cause,
        pipeline.parameters,
        run.started_ms,
        run.ended_ms,
        steps,
        tuple(graph.edges()),
    )


def _skipped(graph: Graph, found: Mapping[str, StepRun], run: RunRecord) -> Mapping[str, str]:
    """Once it has ended nothing is tried again, however many attempts there were."""
    ended = Graph(graph.needs) if run.has_ended else graph
    return plan(ended, {name: each.standing for name, each in found.items()}, 0).skip


def _step_view(
    step: AnyStep,
    needs: tuple[str, ...],
    found: StepRun,
    skipped: str | None,
    references: Mapping[str, str],
) -> StepView:
    last = found.last
    state: State = "skipped" if skipped is not None else found.state
    if last is None or state in ("waiting", "skipped"):
        return StepView(
            step.name,
            step.kind,
            target_of(step),
            needs,
            state,
            tries=len(found.tries),
            cause=skipped,
        )
    origin = last.tags.get(REUSED)
    return StepView(
        step.name,
        step.kind,
        target_of(step),
        needs,
        state,
        last.reference,
        last.id,
        None if origin is None else references.get(origin, origin),
        len(found.tries),
        last.cause,
        last.started_ms,
        last.ended_ms,
        last.properties.get(MADE, ""),
        last.properties.get(DIGEST, ""),
        last.properties.get(URL, ""),
    )


def _references(workspace: Workspace, ids: set[str]) -> dict[str, str]:
    from registry.errors import NotFoundError

    found = {}
    for id in ids:
        try:
            found[id] = workspace.tracking.runs.get(id).reference
        except NotFoundError:
            continue
    return found
