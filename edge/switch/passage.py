"""From the release in service to the next one, on trial, and back: what machine.py has from
SWITCHING on. Each step is on disk before it is done, and can be done again after a kill.

    passage = Passage("digits", course, service, tools, check_stop)
    passage.begin(release)          # from here on it is decided
    wait_s = passage.forward()      # again and again while SWITCHING
    passage.check_trial()           # raises TrialFailedError
    passage.turn_back(error)
    wait_s = passage.back()         # again and again while ROLLING_BACK
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from edge.errors import EdgeError, GateError, HostError
from edge.keeping.port import LiveView
from edge.messages.desired import Module
from edge.switch.candidate import pass_golden
from edge.switch.course import Course, one_line
from edge.switch.gate import Before, Gate
from edge.switch.machine import State, move
from edge.switch.record import Record, Release
from edge.switch.service import BAD_GRACE_S, Service
from edge.switch.tools import Tools
from edge.switch.trial import Trial

log = logging.getLogger(__name__)
TRIES = 3
"""Of what the host refuses, before the version is blamed."""


class TrialFailedError(Exception):
    """What is in service shall not stay."""


class Passage:
    """Of the module ``name``. ``check_stop`` raises at the end of the agent: nothing else ends a
    switch."""

    def __init__(
        self,
        name: str,
        course: Course,
        service: Service,
        tools: Tools,
        check_stop: Callable[[], None],
    ) -> None:
        self._name = name
        self._course = course
        self._service = service
        self._tools = tools
        self._check_stop = check_stop
        self._trial: Trial | None = None
        self._before: Before | None = None
        self._failures = 0

    def __repr__(self) -> str:
        return f"Passage({self._name}, {'on trial' if self._trial is not None else 'at rest'})"

    # The switch.

    def begin(self, release: Release, before: Before | None) -> None:
        """From here on it is decided: a kill goes forward. The way back leads to the last version
        that passed its trial. ``before``: what the old version did, where it is stopped."""
        record = self._course.record
        old = record.live
        if record.is_on_trial and record.previous is not None:
            old = record.previous
        move(record.at, State.SWITCHING)
        self._course.show()
        self._trial = None
        self._before = before
        self._tools.locks.used(self._name)
        self._course.put(Record(State.SWITCHING.value, release, old, is_on_trial=True))

    def forward(self) -> float:
        """Bring ``record.live`` into service, and see it there. Idempotent. Returns how long to
        wait, as ``back`` does."""
        record = self._course.record
        release, old = record.live, record.previous
        assert release is not None
        began = self._tools.clock()
        try:
            is_reload, restarts = self._service.bring(
                release, old, lambda is_reload: self._prove(release, old)
            )
        except (EdgeError, OSError) as error:
            return self._refuse(release, error)
        self._begin_trial(release.module, restarts)
        self._course.put(msgspec.structs.replace(record, state=State.WATCHING.value))
        self._course.show()
        self._tools.event(
            "switched",
            {
                "module": self._name,
                "image": release.module.image,
                "before": old.module.image if old is not None else None,
                "seconds": round(self._tools.clock() - began, 3),
                "reloaded": is_reload,
            },
        )
        return 0.0

    def _prove(self, release: Release, old: Release | None) -> None:
        """That it answers where it is wanted. What was tried beside the old version need not show
        its speed again, while clients use it. Raises GateError."""
        gate = self._gate(release)
        seen = gate.await_ready(self._service.live_id)
        is_timed = release.strategy == "replace" and old is not None
        pass_golden(
            gate, release, self._tools, seen=(seen, None), before=self._before, is_timed=is_timed
        )

    def _refuse(self, release: Release, error: EdgeError | OSError) -> float:
        """Back; but while the host itself does not work, there is neither forward nor back."""
        self._check_stop()
        if isinstance(error, HostError) and not self._service.is_host_well(release.host):
            self._course.show(waiting_for="host", error=str(error))
            return self._tools.pace.first_retry_s
        self.turn_back(error)
        return 0.0

    # The trial.

    def resume_trial(self) -> None:
        """After a restart of the agent: the whole of it again."""
        record = self._course.record
        if record.is_on_trial and self._trial is None and record.live is not None:
            self._begin_trial(record.live.module, 0)

    def was_restarted(self) -> None:
        """Someone asked for a restart: that is no end."""
        if self._trial is not None:
            self._trial.was_restarted()

    def trouble(self) -> str | None:
        """What is wrong with what came into service; None: nothing, or it is not on trial."""
        trial = self._trial
        return trial.look() if trial is not None and self._course.record.is_on_trial else None

    def check_trial(self) -> None:
        """Raises TrialFailedError; ends the trial that was passed."""
        trouble, trial, record = self.trouble(), self._trial, self._course.record
        if trouble is not None:
            raise TrialFailedError(trouble)
        if trial is not None and record.is_on_trial and trial.is_passed:
            self._trial = None
            state = State.IDLE.value if record.at is State.WATCHING else record.state
            self._course.put(msgspec.structs.replace(record, state=state, is_on_trial=False))
            self._service.tidy(self._course.record)

    def _begin_trial(self, module: Module, restarts_before: int) -> None:
        def view() -> LiveView:
            return self._service.view(self._course.record.live)

        def is_host_well() -> bool:
            live = self._course.record.live
            return live is not None and self._service.is_host_well(live.host)

        tools = self._tools
        self._trial = Trial(
            module, view, is_host_well,
            restarts_before=restarts_before, clock=tools.clock, probe_s=tools.pace.probe_s,
        )  # fmt: skip

    # The way back.

    def turn_back(self, error: Exception) -> None:
        """From here on it is decided that what is live, or comes into service, goes."""
        record = self._course.record
        assert record.live is not None
        self._service.drop_next()
        log.warning("%s: %s is given up: %s", self._name, record.live.module.image, error)
        move(record.at, State.ROLLING_BACK)
        self._failures = 0
        self._course.put(
            Record(
                State.ROLLING_BACK.value,
                record.live,
                record.previous,
                record.live.module,
                one_line(error),
                getattr(error, "check", None),
            )
        )
        self._trial = None  # only now: while the disk is full its verdict stays

    def back(self) -> float:
        """Bring ``record.previous`` back; with none, stop. Idempotent, and needs no network. What
        the host refuses is tried again; then it is left to the keeper, which tries for ever."""
        record = self._course.record
        bad, old = record.live, record.previous
        assert bad is not None
        began = self._tools.clock()
        try:
            self._bring_back(bad, old, may_reload=record.check != "health")
        except GateError as error:
            log.warning("%s: the version before is not well: %s", self._name, error)
        except (EdgeError, OSError) as error:
            self._failures += 1
            if old is None or self._failures < TRIES or not self._service.is_host_well(old.host):
                self._check_stop()
                self._course.show(waiting_for="host", error=one_line(error))
                return self._tools.pace.first_retry_s
            self._service.keep(old)
        self._failures = 0
        self._course.put(
            Record(State.FAILED.value, old, None, record.failed, record.error, record.check)
        )
        self._course.show()
        self._tools.event(
            "rolled back",
            {
                "module": self._name,
                "image": bad.module.image,
                "to": old.module.image if old is not None else None,
                "why": record.error,
                "check": record.check,
                "seconds": round(self._tools.clock() - began, 3),
            },
        )
        self._service.tidy(self._course.record)
        return 0.0

    def _bring_back(self, bad: Release, old: Release | None, *, may_reload: bool) -> None:
        """Raises EdgeError, OSError; GateError when it does not answer in its time."""
        if old is None:
            self._service.retire(bad, BAD_GRACE_S)
            return
        self._service.bring(
            old,
            bad,
            lambda is_reload: self._await_ready(old),
            may_reload=may_reload,
            grace_s=BAD_GRACE_S,
        )

    def _await_ready(self, release: Release) -> None:
        self._gate(release).await_ready(self._service.live_id)

    def _gate(self, release: Release) -> Gate:
        return Gate(
            release.module, self._service.host(release.host), self._check_stop,
            clock=self._tools.clock, look_s=self._tools.pace.start_look_s,
        )  # fmt: skip
