"""The child run of a step that Inferry does itself: its log, its cancel, its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from registry.activities.log import ActivityLog
from registry.activities.record import one_line
from registry.clock import utc_now
from registry.errors import CancelledError, RegistryError
from registry.tracking import Life, RunRecord, Status, Tracking
from runtime.errors import InferryError
from runtime.pipelines.port import Job
from runtime.tracking.environment import user

LOOK_EVERY_S = 0.3
EXPECTED = (RegistryError, InferryError)
"""Their message is for people."""


class OwnRun:
    """What the work is given."""

    def __init__(self, tracking: Tracking, run: RunRecord, job: Job) -> None:
        self.id = run.id
        self._tracking = tracking
        self._job = job
        self._log = ActivityLog(tracking.lives.log(run.id), utc_now)
        self._next_s = 0.0

    def say(self, line: str) -> None:
        """A line of its log."""
        self._log.add(line)
        self._job.on_line(line)

    def is_cancelled(self) -> bool:
        """Whether someone asked for its end; looks at most every LOOK_EVERY_S."""
        if time.monotonic() < self._next_s:
            return False
        self._next_s = time.monotonic() + LOOK_EVERY_S
        return self._tracking.runs.is_cancelled(self.id)

    def check(self) -> None:
        """Raises CancelledError."""
        if self.is_cancelled():
            raise CancelledError("cancelled on request")

    def close(self, said: str) -> None:
        """The last line."""
        self._log.end(said)


def own_run(tracking: Tracking, job: Job, work: Callable[[OwnRun], Mapping[str, str]]) -> RunRecord:
    """Do ``work`` as a run; it returns the properties that say what it made, which the run has
    before it has finished. Its exceptions are how the run ended, not this function's."""
    run, life = tracking.runs.begin(
        job.parent.experiment_id,
        name=job.step.name,
        parent=job.parent.id,
        user=job.parent.user or user(),
        tags=job.tags,
    )
    own = OwnRun(tracking, run, job)
    status: Status = "failed"
    cause: str | None = "stopped"
    try:
        job.on_begin(run)
        made = work(own)
        if made:
            tracking.runs.add_properties(run.id, made)
        status, cause = "finished", None
    except CancelledError as error:
        status, cause = "killed", str(error)
    except Exception as error:
        cause = cause_of(error)
    finally:
        _end(tracking, own, life, status, cause)
    return tracking.runs.get(run.id)


def failed_run(tracking: Tracking, job: Job, error: Exception) -> RunRecord:
    """A run that could not begin: it failed."""

    def fail(own: OwnRun) -> Mapping[str, str]:
        raise error

    return own_run(tracking, job, fail)


def cause_of(error: Exception) -> str:
    """In one line. What nobody foresaw is named by its kind too."""
    text = one_line(str(error)) or "no message"
    if isinstance(error, OSError):
        return one_line(error.strerror or type(error).__name__)
    return text if isinstance(error, EXPECTED) else f"{type(error).__name__}: {text}"


def _end(tracking: Tracking, own: OwnRun, life: Life, status: Status, cause: str | None) -> None:
    own.close(status if cause is None else f"{status}: {cause}")
    with suppress(RegistryError):  # the life has it then
        tracking.runs.end(own.id, status, cause=cause, life=life)
