"""One module, brought from version to version. Has a thread of its own, and a keeper with another.

    unit = ModuleUpdater("digits", tools, may_start=lambda: True)
    unit.want(module)          # returns at once; the newest supersedes
    unit.report()
    unit.stop()                # what runs goes on

The order of things, and what a kill leaves: machine.py. This file says what is due next, and brings
a module as far as the switch. How a release is fetched and tried before: candidate.py; the switch,
the trial and the way back: passage.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edge.errors import (
    EdgeError,
    GateError,
    HostError,
    NoSpaceError,
    PullError,
    UntrustedError,
)
from edge.hosts.port import InstanceId
from edge.keeping.port import LiveView
from edge.messages.desired import Module
from edge.messages.reported import ModuleReport
from edge.switch.candidate import Attempt, load, look_at_old, pull, try_beside
from edge.switch.course import Course, OverError, one_line
from edge.switch.describe import describe
from edge.switch.gate import Before
from edge.switch.locks import waits_for
from edge.switch.machine import State, at_rest, move
from edge.switch.mending import Mending
from edge.switch.passage import TRIES, Passage, TrialFailedError
from edge.switch.record import Record, Release
from edge.switch.service import Service, is_same_service
from edge.switch.tools import Tools

__all__ = ["ModuleUpdater", "Tools"]
log = logging.getLogger(__name__)
JOIN_S = 10.0


class ModuleUpdater:
    """The unit of edge/agent/modules.py. ``may_start``: whether it is the module's turn."""

    def __init__(
        self, name: str, tools: Tools, may_start: Callable[[], bool], *, is_started: bool = True
    ) -> None:
        self.name = name
        self._tools = tools
        self._may_start = may_start
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._service = Service(name, tools, self._stopping)
        self._course = Course(name, tools)
        self._passage = Passage(name, self._course, self._service, tools, self._check_stop)
        self._guard = threading.Lock()
        self._wanted: Module | None = None
        self._generation = 0
        self._is_forgiven = False
        self._failures = 0
        self._is_kept = False
        self._born = tools.clock()
        self._mending = Mending(self._service, tools)
        self._thread = threading.Thread(target=self._run, name=f"update {name}", daemon=True)
        if is_started:
            self._thread.start()

    def __repr__(self) -> str:
        return f"ModuleUpdater({self.name}, {self._course.record.state})"

    # The unit.

    def want(self, module: Module) -> None:
        with self._guard:
            if self._wanted != module:
                self._wanted = module
                self._generation += 1
                self._failures = 0
                # Seen here, as it may be wanted again before the thread looks.
                failed = self._course.record.failed
                self._is_forgiven = self._is_forgiven or failed not in (None, module)
        self._wake.set()

    def report(self) -> ModuleReport:
        return describe(
            self.name, self._course.record, self._wanted, self._view(), self._course.progress,
            is_forgiven=self._is_forgiven,
        )  # fmt: skip

    def digests(self) -> set[str]:
        wanted = self._wanted
        return self._course.record.digests | ({wanted.digest} if wanted is not None else set())

    def restart(self) -> None:
        """Raises HostError when nothing is in service."""
        live = self._in_service()
        self._passage.was_restarted()
        self._service.keeper(live.host).restart()

    def logs(self, lines: int) -> str:
        """Raises HostError."""
        live = self._in_service()
        return self._service.host(live.host).logs(InstanceId(self.name, "live"), lines)

    def forget_failure(self) -> None:
        """Try again what was given up."""
        self._is_forgiven = True
        self._wake.set()

    def remove(self) -> None:
        """Raises HostError; may be called again."""
        self.stop()
        if self._thread.is_alive():
            raise HostError(f"{self.name} is busy with a step that cannot be cut")
        self._service.remove()
        self._course.forget()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)
        self._service.close()

    def _in_service(self) -> Release:
        live = self._course.record.live
        if live is None:
            raise HostError(f"{self.name} is not in service yet")
        return live

    # The thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait_s = self.step()
            if wait_s > 0 and self._wake.wait(wait_s):
                self._wake.clear()

    def step(self) -> float:
        """Do what is due; returns how long nothing will be, unless woken. Raises nothing."""
        try:
            return self._carefully()
        except EdgeError as error:
            return self._stumble(one_line(error))
        except Exception as error:
            log.exception("%s: unexpected; it goes on", self.name)
            return self._stumble(f"a defect ({type(error).__name__}); the agent's log says more")

    def _stumble(self, error: str) -> float:
        """What was under way begins again, later."""
        self._failures += 1
        self._course.show(error=error)
        return self._retry_s()

    def _carefully(self) -> float:
        try:
            self._service.drop_left()
            return self._step()
        except OverError:
            return 0.0
        except TrialFailedError as error:
            self._passage.turn_back(GateError("health", str(error)))
            return 0.0

    def _step(self) -> float:
        self._course.rest()  # where an error has left it
        record = self._course.record
        if record.at is State.SWITCHING:
            return self._passage.forward()
        if record.at is State.ROLLING_BACK:
            return self._passage.back()
        if not self._keep(record):
            return self._tools.pace.look_s
        self._forgive()
        with self._guard:  # of each other: what is wanted later must end what is begun here
            wanted, generation = self._wanted, self._generation
        if wanted is not None and self._is_to_do(wanted):
            return self._update(wanted, generation)
        if self._course.record.is_on_trial:
            return self._watch(generation)
        self._failures = 0
        if record.live is not None:
            self._mending.look(
                record.live,
                keep=self._needed,
                is_over=lambda: self._is_over(generation),
                is_stopping=self._stopping.is_set,
            )
        self._course.show(error=self._mending.trouble)
        return self._tools.pace.idle_s

    def _keep(self, record: Record) -> bool:
        """Have what was committed looked after. After a boot it waits for its turn, for a while;
        False: still."""
        live = record.live
        if live is None:
            return True
        try:
            if not self._is_kept and self._service.live(live) is None and not self._is_its_turn():
                self._course.show(waiting_for="order")
                return False
            self._service.keep(live)
            self._is_kept = True
        except HostError as error:
            self._course.show(error=str(error))  # what is wanted may help
        self._passage.resume_trial()
        return True

    def _is_its_turn(self) -> bool:
        late = self._tools.clock() - self._born > self._tools.pace.order_s
        return late or self._may_start()

    def _forgive(self) -> None:
        """What failed may be tried again once something else is wanted, or someone says so."""
        record, wanted = self._course.record, self._wanted
        is_other = wanted is not None and record.failed is not None and wanted != record.failed
        if record.at is State.FAILED and (is_other or self._is_forgiven):
            self._course.put(Record(
                at_rest(record.is_on_trial).value, record.live, record.previous,
                is_on_trial=record.is_on_trial,
            ))  # fmt: skip
        self._is_forgiven = False

    def _is_to_do(self, wanted: Module) -> bool:
        record = self._course.record
        if record.live is not None and record.live.module == wanted:
            return False
        return record.at is not State.FAILED or record.failed != wanted

    # Before the switch: the old version answers.

    def _update(self, wanted: Module, generation: int) -> float:
        """From what is in service to ``wanted``."""
        live = self._course.record.live
        if live is not None and is_same_service(live, wanted):
            self._adopt(live, wanted)
            return 0.0
        attempt = Attempt(
            check=lambda: self._check(generation),
            is_over=lambda: self._is_over(generation) or self._passage.trouble() is not None,
            move=self._course.move,
            show=self._course.show,
            pause=self._pause,
        )
        try:
            release, before = self._prepare(wanted, attempt)
            self._failures = 0
            self._passage.begin(release, before)
            return 0.0
        except (GateError, UntrustedError) as error:
            self._give_up(wanted, error)
            return 0.0
        except (PullError, HostError) as error:
            attempt.check()
            return self._put_off(wanted, error)
        except OSError as error:
            said = error.strerror or type(error).__name__
            return self._put_off(wanted, HostError(f"the device's disk: {said}"))

    def _prepare(self, wanted: Module, attempt: Attempt) -> tuple[Release, Before | None]:
        """A release that may come into service now; and what the old version did with its golden
        inputs, where they never run beside each other. Raises EdgeError, OSError."""
        live, tools = self._course.record.live, self._tools
        self._course.move(State.PULLING)
        image = pull(wanted, tools, attempt, self._needed)
        self._course.move(State.LOADING)
        release = load(wanted, image, live, tools, attempt)
        self._course.move(State.WAITING)
        began = tools.clock()
        self._await_turn(wanted, attempt, began)
        # One that replaces the old version has no place beside it: it is tried in the switch.
        if release.strategy == "beside" or live is None:
            try_beside(release, live, self._service, tools, attempt)
            before = None
            if self._waits_for(wanted, began) is not None:  # a lock came, or the window has closed
                self._course.move(State.WAITING)
                self._await_turn(wanted, attempt, began)
        else:
            before = look_at_old(release, live, self._service, tools, attempt)
        attempt.check()
        return release, before

    def _await_turn(self, wanted: Module, attempt: Attempt, began: float) -> None:
        """For the first start its order; for a switch windows, locks and the application."""
        while True:
            attempt.check()
            waits = self._waits_for(wanted, began)
            if waits is None:
                self._course.show()
                return
            self._course.show(waiting_for=waits)
            self._pause(self._tools.pace.look_s)

    def _waits_for(self, wanted: Module, began: float) -> str | None:
        if self._course.record.live is None:
            return None if self._may_start() else "order"
        locks = self._tools.locks
        return waits_for(
            wanted.update,
            self._tools.now_s(),
            self._tools.clock() - began,
            locks.held(self.name),
            locks.is_ready(self.name),
        )

    def _adopt(self, live: Release, wanted: Module) -> None:
        """Only how it is looked after has changed: nothing restarts."""
        record = self._course.record
        release = Release(wanted, live.runtime, live.host, live.kind)
        self._course.put(Record(
            at_rest(record.is_on_trial).value, release, record.previous,
            is_on_trial=record.is_on_trial,
        ))  # fmt: skip
        self._keep(self._course.record)

    # The trial.

    def _watch(self, generation: int) -> float:
        """Until the trial is over, or something else is wanted."""
        while not self._is_over(generation) and self._course.record.is_on_trial:
            self._passage.check_trial()
            if self._is_forgiven:
                break
            self._pause(self._tools.pace.look_s)
        return 0.0

    # What did not come to pass.

    def _give_up(self, wanted: Module, error: EdgeError) -> None:
        """Nothing was switched: what was in service still is."""
        log.warning("%s: %s does not pass: %s", self.name, wanted.image, error)
        record = self._course.record
        move(record.at, State.FAILED)
        check = getattr(error, "check", None)
        self._course.put(
            Record(
                State.FAILED.value,
                record.live,
                record.previous,
                wanted,
                one_line(error),
                check,
                record.is_on_trial,
            )
        )
        self._course.show()
        self._tools.event(
            "refused",
            {"module": self.name, "image": wanted.image, "why": one_line(error), "check": check},
        )

    def _put_off(self, wanted: Module, error: PullError | HostError) -> float:
        """Try again later: for ever what could not be fetched, as someone may mend the other side;
        a few times what the host refuses, while it works otherwise."""
        self._failures += 1
        waiting_for = "network"
        if isinstance(error, HostError):
            waiting_for = "host"
            if self._failures >= TRIES and self._service.are_hosts_well():
                self._give_up(wanted, GateError("health", str(error)))
                return 0.0
        elif isinstance(error, NoSpaceError):
            waiting_for = "space"
            self._service.tidy(self._course.record)
        elif not error.is_temporary:
            waiting_for = "registry"
        self._course.rest()
        self._course.show(waiting_for=waiting_for, error=one_line(error))
        log.warning("%s: %s is put off: %s", self.name, wanted.image, error)
        wait_s = self._retry_s()
        if self._course.record.is_on_trial:
            self._watch_for(wait_s)
            return 0.0
        return wait_s

    def _watch_for(self, seconds: float) -> None:
        """A wait during which the trial goes on."""
        generation, end = self._generation, self._tools.clock() + seconds
        while not self._is_over(generation) and self._tools.clock() < end:
            self._passage.check_trial()
            self._pause(self._tools.pace.look_s)

    def _retry_s(self) -> float:
        pace = self._tools.pace
        bound = min(pace.max_retry_s, pace.first_retry_s * 2.0 ** min(self._failures, 16))
        return bound * (0.5 + 0.5 * self._tools.draw())

    # Small things.

    def _needed(self) -> set[str]:
        """Images that must not make room for others: those of all modules, as it is now."""
        return self._tools.pinned() | self.digests()

    def _view(self) -> LiveView:
        return self._service.view(self._course.record.live)

    def _check(self, generation: int) -> None:
        if self._is_over(generation):
            self._course.rest()
            raise OverError
        self._passage.check_trial()

    def _is_over(self, generation: int) -> bool:
        return self._stopping.is_set() or self._generation != generation

    def _check_stop(self) -> None:
        """In a switch only the end of the agent counts."""
        if self._stopping.is_set():
            raise OverError

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)
