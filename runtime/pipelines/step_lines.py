"""What a client is told of a pipeline that a service carries out: what happened between two looks,
and the lines that steps print, each after its step's start and before its end.

told = Told(lambda id, offset: remote.tracking.log(id, offset), on_event)
told.look(view)     # now and then
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from runtime.pipelines.event import Event
from runtime.pipelines.view import PipelineView, StepView
from runtime.remote.submissions import RunLog

ReadLog = Callable[[str, int], bytes]
"""What the log of the run with this id has from a byte on, or the next portion of it."""
ENDS = ("finished", "failed", "cancelled", "again")


class Told:
    """``before``: how the pipeline was when it was last told of. A log is bounded
    (registry/activities/log.py), and so is a portion of it: while a step runs, a look takes one."""

    def __init__(
        self,
        read: ReadLog,
        on_event: Callable[[Event], None],
        before: PipelineView | None = None,
    ) -> None:
        self._read, self._on_event, self._before = read, on_event, before
        self._ids = _ids(before)
        self._logs: dict[str, RunLog] = {}
        self._waiting: deque[Event] = deque()

    def look(self, now: PipelineView) -> None:
        """Tell what is new. Whatever is raised meanwhile, the next look goes on from there."""
        self._waiting.extend(events_between(self._before, now))
        self._before = now
        self._ids |= _ids(now)
        while self._waiting:
            event = self._waiting[0]
            if event.what in ENDS and event.run in self._ids:
                self._tell_rest(event.step, self._ids[event.run])
            self._on_event(event)
            self._waiting.popleft()
        for step in now.steps:
            if step.state == "running" and step.run_id is not None:
                self._tell_more(step.name, step.run_id)

    def _tell_more(self, step: str, id: str) -> bool:
        """Whether there was any."""
        log = self._logs.setdefault(id, self._log_of(step))
        data = self._read(id, log.offset)
        log.take(data)
        return bool(data)

    def _tell_rest(self, step: str, id: str) -> None:
        while self._tell_more(step, id):
            pass
        self._logs.pop(id).end()

    def _log_of(self, step: str) -> RunLog:
        return RunLog(lambda line: self._on_event(Event("line", step, text=line)))


def events_between(before: PipelineView | None, now: PipelineView) -> Iterator[Event]:
    """What must have happened. Pure."""
    known = {} if before is None else {step.name: step for step in before.steps}
    for step in now.steps:
        yield from _events(known.get(step.name), step)


def _events(before: StepView | None, now: StepView) -> Iterator[Event]:
    state = None if before is None else before.state
    run = None if before is None else before.run
    if (state, run) == (now.state, now.run):
        return
    said = now.url or now.made
    if now.run is not None and now.run != run and now.state != "reused":
        if state == "running" and before is not None:
            yield Event("again", now.name, before.run or "", before.cause or "", _took_ms(before))
        yield Event("started", now.name, now.run)
    if now.state == "reused":
        yield Event("reused", now.name, now.reused_from or "", said)
    elif now.state == "finished":
        yield Event("finished", now.name, now.run or "", said, _took_ms(now))
    elif now.state in ("failed", "cancelled", "skipped"):
        yield Event(now.state, now.name, now.run or "", now.cause or "", _took_ms(now))


def _took_ms(step: StepView) -> int | None:
    if step.started_ms is None or step.ended_ms is None:
        return None
    return step.ended_ms - step.started_ms


def _ids(view: PipelineView | None) -> dict[str, str]:
    """Of runs, by EXPERIMENT:NUMBER."""
    steps = () if view is None else view.steps
    return {step.run: step.run_id for step in steps if step.run and step.run_id}
