"""Runs the steps of one pipeline run until nothing is left to do: each in a thread, what to do next
by plan.py. One thread decides, hears all events and looks whether the end is asked for.

    Engine(tracking, pipeline, run, attempts, on_event=print).run()

Killed at any moment it leaves what the tracker knows, from which another engine goes on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from registry.errors import RegistryError
from registry.tracking import RunRecord, Tracking
from runtime.pipelines.attempt import Attempts, Tried
from runtime.pipelines.checks import graph_of
from runtime.pipelines.event import Event, What
from runtime.pipelines.plan import DONE, Standing, plan
from runtime.pipelines.port import Done, Job
from runtime.pipelines.records import ROUND, STEP, StepRun, round_of, step_runs
from runtime.pipelines.steps import PipelineSpec, needs_of, steps_by_name

LOOK_EVERY_S = 0.5
MAX_UNHEARD = 10_000
"""Messages; a script that prints faster than lines can be shown waits then."""
OnEvent = Callable[[Event], None]
Message = Event | tuple[str, Tried | BaseException]


class Engine:
    """``run``: the parent, which this process holds; its tag says which round it is."""

    def __init__(
        self,
        tracking: Tracking,
        pipeline: PipelineSpec,
        run: RunRecord,
        attempts: Attempts,
        *,
        parallel: int,
        on_event: OnEvent,
        on_look: Callable[[], None] = lambda: None,
    ) -> None:
        self._tracking, self._run, self._attempts = tracking, run, attempts
        self._parallel, self._on_event, self._on_look = parallel, on_event, on_look
        self._folder = Path(pipeline.folder)
        self._steps = steps_by_name(pipeline.steps)
        self._graph = graph_of(pipeline)
        self._states: dict[str, Standing] = {}
        self._done: dict[str, Done] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._messages: queue.Queue[Message] = queue.Queue(MAX_UNHEARD)
        self._running: dict[str, str] = {}
        """Ids of runs by step."""
        self._failed: list[tuple[str, Tried]] = []
        self._is_cancelled = threading.Event()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        states = {name: standing.state for name, standing in self._states.items()}
        return f"Engine({self._run.reference}, {states})"

    @property
    def is_cancelled(self) -> bool:
        """Whether its end was asked for."""
        return self._is_cancelled.is_set()

    @property
    def failed(self) -> list[tuple[str, Tried]]:
        """Steps that failed for good or were cancelled, in that order."""
        return self._failed

    @property
    def is_done(self) -> bool:
        """Whether all steps are."""
        return all(standing.state in DONE for standing in self._states.values())

    def run(self) -> None:
        """Until nothing is left to do. Ctrl-C is a cancel; again, it is the end, and what runs then
        is left."""
        try:
            self._begin()
            while not self._advance():
                self._look()
        except KeyboardInterrupt:
            self.cancel()
            raise
        except BaseException:
            self.cancel()
            self._join()
            raise
        self._join()

    def cancel(self) -> None:
        """What runs is asked to end, and nothing begins any more."""
        with self._lock:
            self._is_cancelled.set()
            running = list(self._running.values())
        for id in running:
            self._cancel_run(id)

    # Where an earlier round has left off.

    def _begin(self) -> None:
        children = self._tracking.runs.children(self._run.id)
        found = step_runs(self._graph, children, round_of(self._run), is_alive=True)
        for name, step_run in found.items():
            self._states[name] = self._taken_over(name, step_run)

    def _taken_over(self, name: str, found: StepRun) -> Standing:
        last = found.last
        if last is None:
            return Standing()
        if found.state == "running":
            if self._tracking.lives.is_held(last.id):
                self._follow(name, last)
                return Standing("running", found.attempts)
            self._tracking.runs.end(last.id, "failed", cause="its pipeline's process ended")
            return Standing()
        if found.state in DONE:
            done = self._attempts.done_before(last, self._steps[name].kind)
            if done is None:
                return Standing()
            self._done[name] = done
        return found.standing

    # What is to be done next.

    def _advance(self) -> bool:
        """Whether it is over."""
        wanted = plan(
            self._graph, self._states, self._parallel, is_cancelled=self._is_cancelled.is_set()
        )
        for name, cause in wanted.skip.items():
            self._states[name] = replace(self._states[name], state="skipped")
            self._on_event(Event("skipped", name, text=cause))
        for name in wanted.start:
            self._start(name)
        return wanted.is_over

    def _look(self) -> None:
        """Hear what is new, at the latest after LOOK_EVERY_S whether the end is asked for."""
        try:
            self._hear(self._messages.get(timeout=LOOK_EVERY_S))
            while not self._messages.empty():
                self._hear(self._messages.get_nowait())
        except queue.Empty:
            pass
        except KeyboardInterrupt:
            if self._is_cancelled.is_set():
                raise
            self._ask()
        self._on_look()
        if not self._is_cancelled.is_set():
            with suppress(RegistryError):  # looked for again soon
                if self._tracking.runs.is_cancelled(self._run.id):
                    self._ask()

    def _ask(self) -> None:
        self._on_event(Event("cancelling"))
        self.cancel()

    def _hear(self, message: Message) -> None:
        if isinstance(message, Event):
            self._on_event(message)
            return
        name, tried = message
        self._running.pop(name, None)
        if isinstance(tried, BaseException):
            raise tried
        self._states[name] = replace(self._states[name], state=tried.state)
        if tried.done is not None:
            self._done[name] = tried.done
        self._tell(name, tried)

    def _tell(self, name: str, tried: Tried) -> None:
        run = "" if tried.run is None else tried.run.reference
        what: What = tried.state  # type: ignore[assignment]  # a try ends in one of these
        text = tried.cause
        if tried.done is not None:
            text = tried.done.url or tried.done.made
        elif tried.state == "failed" and self._states[name].attempts <= self._steps[name].retries:
            what = "again"
        else:
            self._failed.append((name, tried))
        if tried.state == "reused" and tried.done is not None:
            with suppress(RegistryError):
                run = self._tracking.runs.get(tried.done.run).reference
        self._on_event(Event(what, name, run, text))

    # Threads of steps.

    def _start(self, name: str) -> None:
        self._states[name] = Standing("running", self._states[name].attempts + 1)
        step = self._steps[name]
        job = Job(
            step,
            self._run,
            self._folder,
            {each: self._done[each] for each in needs_of(step, frozenset(self._steps))},
            {STEP: name, ROUND: str(round_of(self._run))},
            on_line=lambda line: self._messages.put(Event("line", name, text=line)),
            on_begin=lambda run: self._begun(name, run),
        )
        self._thread(name, lambda: self._attempts.attempt(job, self._is_cancelled.is_set))

    def _follow(self, name: str, run: RunRecord) -> None:
        """A run of a runner that is gone, but whose own process lives."""
        self._begun(name, run)
        self._thread(name, lambda: self._attempts.settled(run))

    def _thread(self, name: str, work: Callable[[], Tried]) -> None:
        def body() -> None:
            try:
                self._messages.put((name, work()))
            except BaseException as error:  # the thread that decides says it
                self._messages.put((name, error))

        thread = threading.Thread(target=body, name=f"step {name}", daemon=True)
        self._threads[name] = thread
        thread.start()

    def _begun(self, name: str, run: RunRecord) -> None:
        """Called by the thread of a step."""
        self._messages.put(Event("started", name, run.reference))
        with self._lock:
            self._running[name] = run.id
            is_late = self._is_cancelled.is_set()
        if is_late:
            self._cancel_run(run.id)

    def _cancel_run(self, id: str) -> None:
        with suppress(RegistryError):  # it has ended meanwhile
            self._tracking.runs.cancel(id)

    def _join(self) -> None:
        """Hears nothing any more, but lets nobody wait to be heard."""
        for thread in self._threads.values():
            while thread.is_alive():
                with suppress(queue.Empty):
                    self._messages.get(timeout=0.05)
            thread.join()
