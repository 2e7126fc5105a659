"""Register steps: files become the next version of a model, which comes from the run that wrote
them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry import Workspace
from registry.errors import NotFoundError
from registry.records import Model
from registry.tracking import RunRecord
from runtime.pipelines.gathering import gathered, input_files
from runtime.pipelines.keys import files_digest
from runtime.pipelines.own_run import OwnRun, own_run
from runtime.pipelines.port import Done, Job
from runtime.pipelines.records import DIGEST, MADE, STEP
from runtime.pipelines.steps import RegisterStep, Source, made_name


class RegisterRunner:
    """In one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def facts(self, job: Job) -> Any:
        """The files of this machine."""
        step = _step(job)
        source = Source.of(step.files)
        if source.step is not None:
            return []
        return files_digest(input_files(job.folder / source.path).values())

    def is_there(self, done: Done) -> bool:
        """The version, with these bytes."""
        try:
            return self._workspace.models.get(done.made).digest == done.digest
        except NotFoundError:
            return False

    def run(self, job: Job) -> RunRecord:
        """A version that an earlier try made is taken for it."""
        step = _step(job)

        def work(own: OwnRun) -> Mapping[str, str]:
            model = self._made_before(made_name(step), job.mark)
            if model is None:
                model = self._register(step, job, own)
                own.say(f"registered {model.reference}")
            else:
                own.say(f"{model.reference} was registered by a try that was killed after it")
            return {MADE: model.reference, DIGEST: model.digest}

        return own_run(self._workspace.tracking, job, work)

    def _made_before(self, name: str, mark: str) -> Model | None:
        found = self._workspace.models.list(name=name)
        return next((model for model in found if model.properties.get(STEP) == mark), None)

    def _register(self, step: RegisterStep, job: Job, own: OwnRun) -> Model:
        source = Source.of(step.files)
        with tempfile.TemporaryDirectory(prefix="inferry-") as scratch:
            path = gathered(
                self._workspace.tracking, step.files, job.before, job.folder, Path(scratch)
            )
            own.check()
            return self._workspace.models.register(
                path,
                name=made_name(step),
                tags=step.tags,
                properties={**step.properties, STEP: job.mark},
                description=step.description,
                allow_pickle=step.allow_pickle,
                run=own.id if source.step is None else job.before[source.step].run,
                on_progress=lambda done, total: own.check(),
            )


def _step(job: Job) -> RegisterStep:
    assert isinstance(job.step, RegisterStep)
    return job.step
