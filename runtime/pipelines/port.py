"""The port behind a step: what does the work of one kind. scripts.py, registering.py, imaging.py
and deploying.py do it in reality, memory.py in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from registry.tracking import RunRecord
from runtime.pipelines.steps import AnyStep


@dataclass(frozen=True, slots=True)
class Done:
    """What a step left. ``run``: id of the run that did it, which is one of another pipeline run
    where it was reused. ``files``: digests by path below outputs/. ``made``: the NAME:VERSION of a
    model or image, or a deployment; ``digest``: of that; ``url``: of the deployment."""

    run: str
    files: Mapping[str, str]
    made: str = ""
    digest: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One try of one step. ``parent``: the run of the pipeline; ``folder``: what paths are relative
    to; ``before``: what the steps that it needs left; ``tags``: of its run; ``key``: what it
    depends on, "" where that is not known."""

    step: AnyStep
    parent: RunRecord
    folder: Path
    before: Mapping[str, Done]
    tags: Mapping[str, str]
    key: str = ""
    on_line: Callable[[str], None] = lambda line: None
    on_begin: Callable[[RunRecord], None] = lambda run: None

    @property
    def mark(self) -> str:
        """What things are marked with that this step makes in this pipeline run: a second try finds
        what a first one made that was killed before it could say so."""
        return f"{self.parent.id}.{self.step.name}.{self.key.removeprefix('sha256:')[:16]}"


class StepRunner(Protocol):
    """Does the steps of one kind. Called from a thread of each step's own."""

    def facts(self, job: Job) -> Any:
        """All that its outcome depends on, beside the step as it is written and what the steps left
        that it needs: what can be JSON. None: it is never reused. Raises RegistryError,
        InferryError, OSError."""
        ...

    def is_there(self, done: Done) -> bool:
        """Whether what an earlier run of such a step made is still there, as it was."""
        ...

    def run(self, job: Job) -> RunRecord:
        """Do it, as a child run of ``job.parent`` that has ``job.tags``, and say how that ended.
        ``job.on_begin`` hears of it as soon as there is one. It looks whether the run is to be
        cancelled. What is wrong before there is a run raises RegistryError, InferryError,
        OSError."""
        ...
