"""How a run of a pipeline is kept: a parent run with a child run for each try of a step.

tags of the parent   inferry.pipeline  the pipeline's name
                     inferry.round     how often it was begun; a resume is another round
file of the parent   pipeline.json     the pipeline, with its parameters in their places
tags of a child      inferry.step      the step's name
                     inferry.round     the round that it belongs to
                     inferry.key       what the step depends on (keys.py)
                     inferry.reused    id of the run that was taken instead
                     inferry.outputs   digest of the list of its files, once they are complete
properties of it     inferry.made, inferry.digest, inferry.url   what it made

Nothing else is written down, so what a killed runner leaves is what the tracker knows: a step is
done when its run is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from registry.errors import NotFoundError
from registry.tracking import RunFile, RunRecord, Tracking
from runtime.pipelines.errors import PipelineError
from runtime.pipelines.plan import Graph, Standing, State
from runtime.pipelines.port import Done
from runtime.pipelines.steps import PipelineSpec

PIPELINE, ROUND = "inferry.pipeline", "inferry.round"
STEP, KEY, REUSED, OUTPUTS = "inferry.step", "inferry.key", "inferry.reused", "inferry.outputs"
MADE, DIGEST, URL = "inferry.made", "inferry.digest", "inferry.url"
FILE = "pipeline.json"
FOLDER = "outputs"


@dataclass(frozen=True, slots=True)
class StepRun:
    """How a step is in one pipeline run. ``tries``: its runs, the first one first."""

    state: State
    attempts: int = 0
    tries: tuple[RunRecord, ...] = ()

    @property
    def last(self) -> RunRecord | None:
        """The latest try, which is the one that counts."""
        return self.tries[-1] if self.tries else None

    @property
    def standing(self) -> Standing:
        """For the plan."""
        return Standing(self.state, self.attempts)


def is_pipeline(run: RunRecord) -> bool:
    """Whether it is the run of a pipeline."""
    return PIPELINE in run.tags


def round_of(run: RunRecord) -> int:
    """Of a parent or child; 0 where none is said."""
    text = run.tags.get(ROUND, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def read_kept(tracking: Tracking, run: RunRecord) -> PipelineSpec:
    """The pipeline of a run. Raises PipelineError where it has none."""
    if not is_pipeline(run):
        raise PipelineError(f"run {run.reference} is no pipeline's; see inferry pipeline list")
    try:
        return msgspec.json.decode(tracking.files.read(run.id, FILE), type=PipelineSpec)
    except (NotFoundError, msgspec.MsgspecError) as error:
        raise PipelineError(
            f"run {run.reference} has no {FILE} that can be read, so it cannot be resumed; run the"
            " pipeline anew"
        ) from error


def step_runs(
    graph: Graph, children: Sequence[RunRecord], round: int, *, is_alive: bool
) -> dict[str, StepRun]:
    """How each step is. ``is_alive``: the pipeline runs, in this ``round``; then what failed in an
    earlier one waits to be tried again."""
    tries: dict[str, list[RunRecord]] = {name: [] for name in graph.needs}
    for child in children:
        name = child.tags.get(STEP)
        if name in tries and not child.is_deleted:
            tries[name].append(child)
    return {name: _step_run(found, round, is_alive) for name, found in tries.items()}


def done_of(run: RunRecord, files: Iterable[RunFile]) -> Done:
    """What a finished run left. ``files``: those of the run that did it."""
    return Done(
        run.tags.get(REUSED, run.id),
        {
            file.path.removeprefix(f"{FOLDER}/"): file.digest
            for file in files
            if file.path.startswith(f"{FOLDER}/")
        },
        run.properties.get(MADE, ""),
        run.properties.get(DIGEST, ""),
        run.properties.get(URL, ""),
    )


def outputs_digest(files: Mapping[str, str]) -> str:
    """Of the list of a step's files."""
    lines = "".join(f"{path}\0{files[path]}\n" for path in sorted(files))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _step_run(tries: Sequence[RunRecord], round: int, is_alive: bool) -> StepRun:
    if not tries:
        return StepRun("waiting")
    last = tries[-1]
    attempts = sum(round_of(each) == round for each in tries)
    if last.status == "finished":
        state: State = "reused" if REUSED in last.tags else "finished"
    elif last.status in ("running", "scheduled"):
        state = "running"
    else:
        state = "cancelled" if last.status == "killed" else "failed"
        if is_alive and round_of(last) != round:
            state = "waiting"
    return StepRun(state, attempts, tuple(tries))
