"""One try of one step, from its key to what it left; in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from registry.errors import RegistryError
from registry.tracking import RunRecord, Tracking
from runtime.errors import InferryError
from runtime.pipelines.keys import key_of
from runtime.pipelines.own_run import failed_run
from runtime.pipelines.plan import State
from runtime.pipelines.port import Done, Job, StepRunner
from runtime.pipelines.records import DIGEST, KEY, MADE, REUSED, URL
from runtime.pipelines.reuse import Earlier
from runtime.pipelines.steps import Kind
from runtime.tracking.environment import user

Runners = Mapping[Kind, StepRunner]


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try ended. ``done`` where it is; ``run`` None where it was cancelled before there was
    one; ``cause`` why it failed."""

    state: State
    run: RunRecord | None = None
    done: Done | None = None
    cause: str = ""


class Attempts:
    """Of the steps of one pipeline run. ``reuse``: whether earlier ones are looked for at all."""

    def __init__(self, tracking: Tracking, runners: Runners, *, reuse: bool) -> None:
        self._tracking = tracking
        self._runners = runners
        self._reuse = reuse
        self._earlier = Earlier(tracking)

    def attempt(self, job: Job, is_cancelled: Callable[[], bool]) -> Tried:
        """Never raises for what a step can do wrong."""
        runner = self._runners[job.step.kind]
        try:
            facts = runner.facts(job)
            key = "" if facts is None else key_of(job.step, facts, job.before)
            if key:
                job = replace(job, key=key, tags={**job.tags, KEY: key})
            if key and self._reuse and job.step.reuse:
                found = self._earlier.find(key, runner)
                if found is not None:
                    return self._reused(job, found)
            if is_cancelled():
                return Tried("cancelled")
            run = runner.run(job)
        except (RegistryError, InferryError, OSError) as error:
            run = failed_run(self._tracking, job, error)
        return self._tried(run)

    def settled(self, run: RunRecord) -> Tried:
        """Of a run that another runner began, which still lives: how it ends."""
        while not run.has_ended:
            time.sleep(0.5)
            run = self._tracking.runs.get(run.id)
        return self._tried(run)

    def done_before(self, run: RunRecord, kind: Kind) -> Done | None:
        """What a step left that an earlier round has done; None where that is no longer there."""
        origin = self._earlier.origin(run)
        if origin is None:
            return None
        if origin.id != run.id and not self._earlier.is_whole(origin, self._runners[kind]):
            return None
        return self._earlier.seal(run) if origin.id == run.id else self._earlier.done(run)

    def _tried(self, run: RunRecord) -> Tried:
        if run.status == "finished":
            return Tried("finished", run, self._earlier.seal(run))
        state: State = "cancelled" if run.status == "killed" else "failed"
        return Tried(state, run, cause=run.cause or run.status)

    def _reused(self, job: Job, found: RunRecord) -> Tried:
        """A run that says so, and has ended when it appears."""
        done = self._earlier.done(found)
        made = {MADE: done.made, DIGEST: done.digest, URL: done.url}
        run = self._tracking.runs.create(
            job.parent.experiment_id,
            name=job.step.name,
            parent=job.parent.id,
            user=job.parent.user or user(),
            status="finished",
            tags={**job.tags, REUSED: found.id},
            properties={key: value for key, value in made.items() if value},
        )
        return Tried("reused", run, done)
