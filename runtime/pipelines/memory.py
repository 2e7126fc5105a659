"""A runner that does what it is told: steps of any kind without scripts, images or deployments.

MemoryRunner(tracking, {"train": lambda job: {"model.onnx": b"..."}})
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from registry.tracking import RunRecord, Tracking
from runtime.pipelines.own_run import OwnRun, own_run
from runtime.pipelines.port import Done, Job
from runtime.pipelines.records import DIGEST, FOLDER, MADE
from runtime.pipelines.steps import ScriptStep, made_name

Act = Callable[[Job, OwnRun], Mapping[str, bytes]]
"""Returns the files that it writes, by their path below outputs/."""


class MemoryRunner:
    """``acts``: by the step's name; a step without one writes its name. ``facts_of``: what the keys
    cover, by the step's name; ``gone``: what is no longer there of what steps made."""

    def __init__(
        self,
        tracking: Tracking,
        acts: Mapping[str, Act] | None = None,
        facts_of: Mapping[str, Any] | None = None,
    ) -> None:
        self._tracking = tracking
        self._acts = acts or {}
        self._facts_of = facts_of or {}
        self.gone: set[str] = set()

    def facts(self, job: Job) -> Any:
        """As told; of a step that nothing is told of, its name."""
        return self._facts_of.get(job.step.name, job.step.name)

    def is_there(self, done: Done) -> bool:
        """As told."""
        return done.made not in self.gone

    def run(self, job: Job) -> RunRecord:
        """As told."""
        act = self._acts.get(job.step.name)

        def work(own: OwnRun) -> Mapping[str, str]:
            files = {"name": job.step.name.encode()} if act is None else act(job, own)
            if isinstance(job.step, ScriptStep):
                for path, data in files.items():
                    self._tracking.files.put(own.id, f"{FOLDER}/{path}", [data])
                return {}
            return {
                MADE: made_name(job.step),
                DIGEST: f"sha256:{hashlib.sha256(repr(sorted(files)).encode()).hexdigest()}",
            }

        return own_run(self._tracking, job, work)
