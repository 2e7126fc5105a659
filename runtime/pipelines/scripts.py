"""Script steps: submitted as runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from registry import Workspace
from registry.errors import InvalidSourceError
from registry.tracking import RunRecord
from registry.tracking.snapshot_folder import MB, SnapshotLimits, read_folder
from registry.tree import SourceFile
from runtime.pipelines.gathering import gathered, input_files
from runtime.pipelines.keys import files_digest
from runtime.pipelines.port import Done, Job
from runtime.pipelines.steps import ScriptStep, Source
from runtime.pipelines.words import advice, shown
from runtime.submission import submit


class ScriptRunner:
    """In one workspace. ``environment``: what scripts may be passed variables of (None: this
    process's); ``why_end``: see ``submit``."""

    def __init__(
        self,
        workspace: Workspace,
        environment: Mapping[str, str] | None = None,
        why_end: Callable[[], str] = lambda: "",
    ) -> None:
        self._workspace = workspace
        self._environment = environment
        self._why_end = why_end

    def facts(self, job: Job) -> Any:
        """Every file that would be copied to the target, and the inputs of this machine."""
        step = _step(job)
        files = snapshot_files(step, job.folder)
        local = {
            name: files_digest(input_files(job.folder / Source.of(text).path).values())
            for name, text in step.inputs.items()
            if Source.of(text).step is None
        }
        return {"folder": files_digest(files), "inputs": local}

    def is_there(self, done: Done) -> bool:
        """Its files are all there is, and who asks looks at those."""
        return True

    def run(self, job: Job) -> RunRecord:
        """On its target."""
        step = _step(job)
        with tempfile.TemporaryDirectory(prefix="inferry-") as scratch:
            inputs: dict[str, dict[str, SourceFile]] = {}
            for number, (name, text) in enumerate(step.inputs.items()):
                own = Path(scratch) / str(number)
                own.mkdir()
                path = gathered(self._workspace.tracking, text, job.before, job.folder, own)
                inputs[name] = input_files(path)
            return submit(
                self._workspace,
                step.config,
                job.folder / step.folder,
                experiment=job.parent.experiment,
                name=step.name,
                parent=job.parent.id,
                tags=job.tags,
                inputs=inputs,
                environment=self._environment,
                user=job.parent.user or None,
                why_end=self._why_end,
                on_line=job.on_line,
                on_begin=job.on_begin,
            )


def snapshot_files(step: ScriptStep, base: Path) -> tuple[SourceFile, ...]:
    """What is copied to the target. Raises InvalidSourceError, also where the script is not
    there."""
    taken = step.config.snapshot
    limits = SnapshotLimits(taken.max_files, taken.max_mb * MB)
    found = read_folder(base / step.folder, ignore=taken.ignore, limits=limits)
    paths = [file.path for file in found.files]
    for key, path in (
        ("script", step.config.script),
        ("python.requirements", step.config.python.requirements),
    ):
        if path and path not in paths:
            said = advice(path, paths, "")
            raise InvalidSourceError(f"{key}: there is no {shown(path)} in the folder; {said}")
    return found.files


def _step(job: Job) -> ScriptStep:
    assert isinstance(job.step, ScriptStep)
    return job.step
