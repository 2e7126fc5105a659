"""One module, brought from version to version. Has a thread of its own, and a keeper with another.

    unit = ModuleUpdater("digits", tools, may_start=lambda: True)
    unit.want(module)          # returns at once; the newest supersedes
    unit.report()
    unit.stop()                # what runs goes on

The order of things, and what a kill leaves: machine.py. This file does what the states say: each
step is on disk before it is done, and can be done again. How a release comes into service:
service.py; how it is fetched and tried before: candidate.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import msgspec

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
from edge.switch.candidate import Attempt, load, look_at_old, pass_golden, pull, try_beside
from edge.switch.describe import describe
from edge.switch.gate import Before, Gate
from edge.switch.locks import waits_for
from edge.switch.machine import PREPARING, State, at_rest, move
from edge.switch.record import Record, Release
from edge.switch.service import BAD_GRACE_S, Service, is_same_service
from edge.switch.tools import Progress, Tools
from edge.switch.trial import Trial

__all__ = ["ModuleUpdater", "Tools"]
log = logging.getLogger(__name__)
JOIN_S = 10.0
TRIES = 3
"""Of what the host refuses, before the version is blamed."""


class _Over(Exception):
    """Something else is wanted, or it is the end."""


class _TrialFailed(Exception):
    """What is in service shall not stay."""


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
        self._record = tools.records.load(name)
        self._trial: Trial | None = None
        self._before: Before | None = None
        self._guard = threading.Lock()
        self._wanted: Module | None = None
        self._generation = 0
        self._is_forgiven = False
        self._progress = Progress()
        self._failures = 0
        self._is_fresh = True
        self._is_kept = False
        self._born = tools.clock()
        self._next_mend = 0.0
        self._thread = threading.Thread(target=self._run, name=f"update {name}", daemon=True)
        if is_started:
            self._thread.start()

    def __repr__(self) -> str:
        return f"ModuleUpdater({self.name}, {self._record.state})"

    # The unit.

    def want(self, module: Module) -> None:
        with self._guard:
            if self._wanted != module:
                self._wanted = module
                self._generation += 1
                self._failures = 0
                # Seen here, as it may be wanted again before the thread looks.
                failed = self._record.failed
                self._is_forgiven = self._is_forgiven or failed not in (None, module)
        self._wake.set()

    def report(self) -> ModuleReport:
        return describe(
            self.name, self._record, self._wanted, self._view(), self._progress,
            is_forgiven=self._is_forgiven,
        )  # fmt: skip

    def digests(self) -> set[str]:
        wanted = self._wanted
        return self._record.digests | ({wanted.digest} if wanted is not None else set())

    def restart(self) -> None:
        """Raises HostError when nothing is in service."""
        live = self._in_service()
        if self._trial is not None:
            self._trial.was_restarted()
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
        self._tools.records.remove(self.name)
        self._record = Record()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)
        self._service.close()

    def _in_service(self) -> Release:
        live = self._record.live
        if live is None:
            raise HostError(f"{self.name} is not in service yet")
        return live

    # The thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = self.step()
            except Exception:
                log.exception("%s: unexpected; it goes on", self.name)
                wait_s = self._retry_s()
            if wait_s > 0 and self._wake.wait(wait_s):
                self._wake.clear()

    def step(self) -> float:
        """Do what is due; returns how long nothing will be, unless woken. Raises no EdgeError."""
        try:
            if self._is_fresh:  # an agent that was killed may have left its candidate
                self._is_fresh = not self._service.drop_next()
            return self._step()
        except _Over:
            return 0.0
        except _TrialFailed as error:
            self._roll_back(GateError("health", str(error)))
            return 0.0
        except EdgeError as error:
            self._show(error=str(error))
            return self._retry_s()

    def _step(self) -> float:
        record = self._record
        if record.at is State.SWITCHING:
            return self._finish_switch(record)
        if record.at is State.ROLLING_BACK:
            return self._finish_rollback(record)
        if not self._keep(record):
            return self._tools.pace.look_s
        self._forgive()
        wanted = self._wanted
        if wanted is not None and self._is_to_do(wanted):
            return self._update(wanted)
        if self._record.is_on_trial:
            return self._watch()
        self._show()
        self._mend(record)
        return self._tools.pace.idle_s

    def _keep(self, record: Record) -> bool:
        """Have what was committed looked after. After a boot it waits for its turn, for a while;
        False: still."""
        live = record.live
        if live is None:
            return True
        try:
            if not self._is_kept and self._service.live(live) is None and not self._is_its_turn():
                self._show(waiting_for="order")
                return False
            self._service.keep(live)
            self._is_kept = True
        except HostError as error:
            self._show(error=str(error))  # what is wanted may help
        if record.is_on_trial and self._trial is None:
            self._begin_trial(live.module, 0)
        return True

    def _is_its_turn(self) -> bool:
        late = self._tools.clock() - self._born > self._tools.pace.order_s
        return late or self._may_start()

    def _forgive(self) -> None:
        """What failed may be tried again once something else is wanted, or someone says so."""
        record, wanted = self._record, self._wanted
        is_other = wanted is not None and record.failed is not None and wanted != record.failed
        if record.at is State.FAILED and (is_other or self._is_forgiven):
            self._put(Record(
                at_rest(record.is_on_trial).value, record.live, record.previous,
                is_on_trial=record.is_on_trial,
            ))  # fmt: skip
        self._is_forgiven = False

    def _is_to_do(self, wanted: Module) -> bool:
        record = self._record
        if record.live is not None and record.live.module == wanted:
            return False
        return record.at is not State.FAILED or record.failed != wanted

    # Before the switch: the old version answers.

    def _update(self, wanted: Module) -> float:
        """From what is in service to ``wanted``."""
        generation = self._generation
        live = self._record.live
        if live is not None and is_same_service(live, wanted):
            self._adopt(live, wanted)
            return 0.0
        attempt = Attempt(
            check=lambda: self._check(generation),
            is_over=lambda: self._is_over(generation) or self._look_at_trial() is not None,
            move=self._move,
            show=self._show,
            pause=self._pause,
        )
        try:
            release = self._prepare(wanted, attempt)
            self._begin_switch(release)
            return self._finish_switch(self._record)
        except (GateError, UntrustedError) as error:
            self._give_up(wanted, error)
            return 0.0
        except (PullError, HostError) as error:
            attempt.check()
            return self._put_off(wanted, error)
        except OSError as error:
            said = error.strerror or type(error).__name__
            return self._put_off(wanted, HostError(f"the device's disk: {said}"))

    def _prepare(self, wanted: Module, attempt: Attempt) -> Release:
        """A release that may come into service now. Raises EdgeError, OSError."""
        live, tools = self._record.live, self._tools
        self._move(State.PULLING)
        image = pull(wanted, tools, attempt, lambda: tools.pinned() | self.digests())
        self._move(State.LOADING)
        release = load(wanted, image, live, tools, attempt)
        self._move(State.WAITING)
        began = tools.clock()
        self._await_turn(wanted, attempt, began)
        # One that replaces the old version has no place beside it: it is tried in the switch.
        if wanted.update.strategy == "beside" or live is None:
            try_beside(release, live, self._service, tools, attempt)
            self._before = None
            if self._waits_for(wanted, began) is not None:  # a lock came, or the window has closed
                self._move(State.WAITING)
                self._await_turn(wanted, attempt, began)
        else:
            self._before = look_at_old(release, live, self._service, tools, attempt)
        attempt.check()
        return release

    def _await_turn(self, wanted: Module, attempt: Attempt, began: float) -> None:
        """For the first start its order; for a switch windows, locks and the application."""
        while True:
            attempt.check()
            waits = self._waits_for(wanted, began)
            if waits is None:
                self._show()
                return
            self._show(waiting_for=waits)
            self._pause(self._tools.pace.look_s)

    def _waits_for(self, wanted: Module, began: float) -> str | None:
        if self._record.live is None:
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
        record = self._record
        release = Release(wanted, live.runtime, live.host, live.kind)
        self._put(Record(
            at_rest(record.is_on_trial).value, release, record.previous,
            is_on_trial=record.is_on_trial,
        ))  # fmt: skip
        self._keep(self._record)

    # The switch.

    def _begin_switch(self, release: Release) -> None:
        """From here on it is decided: a kill goes forward. The way back leads to the last version
        that passed its trial."""
        record = self._record
        old = record.live
        if record.is_on_trial and record.previous is not None:
            old = record.previous
        move(record.at, State.SWITCHING)
        self._show()
        self._trial = None
        self._tools.locks.used(self.name)
        self._put(Record(State.SWITCHING.value, release, old, is_on_trial=True))

    def _finish_switch(self, record: Record) -> float:
        """Bring ``record.live`` into service, and see it there. Idempotent."""
        release, old = record.live, record.previous
        assert release is not None
        began = self._tools.clock()
        try:
            is_reload, restarts = self._service.bring(
                release, old, lambda is_reload: self._prove(release, old)
            )
        except (EdgeError, OSError) as error:
            return self._refuse_switch(release, error)
        self._failures = 0
        self._begin_trial(release.module, restarts)
        self._put(msgspec.structs.replace(record, state=State.WATCHING.value))
        self._show()
        self._tools.event(
            "switched",
            {
                "module": self.name,
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
        module = release.module
        gate = self._gate(release)
        seen = gate.await_ready(self._service.live_id)
        is_timed = module.update.strategy == "replace" and old is not None
        pass_golden(
            gate, release, self._tools, seen=(seen, None), before=self._before, is_timed=is_timed
        )

    def _refuse_switch(self, release: Release, error: EdgeError | OSError) -> float:
        """Back; but while the host itself does not work, there is neither forward nor back."""
        self._check_stop()
        if isinstance(error, HostError) and not self._service.is_host_well(release.host):
            self._show(waiting_for="host", error=str(error))
            return self._tools.pace.first_retry_s
        self._roll_back(error)
        return 0.0

    # The trial.

    def _begin_trial(self, module: Module, restarts_before: int) -> None:
        def is_host_well() -> bool:
            live = self._record.live
            return live is not None and self._service.is_host_well(live.host)

        tools = self._tools
        self._trial = Trial(
            module, self._view, is_host_well,
            restarts_before=restarts_before, clock=tools.clock, probe_s=tools.pace.probe_s,
        )  # fmt: skip

    def _watch(self) -> float:
        """Until the trial is over, or something else is wanted."""
        generation = self._generation
        while not self._is_over(generation) and self._record.is_on_trial:
            self._check_trial()
            if self._is_forgiven:
                break
            self._pause(self._tools.pace.look_s)
        return 0.0

    def _look_at_trial(self) -> str | None:
        """What is wrong with what came into service; None: nothing, or it is not on trial."""
        is_on_trial = self._record.is_on_trial and self._trial is not None
        return self._trial.look() if is_on_trial and self._trial is not None else None

    def _check_trial(self) -> None:
        """Raises _TrialFailed; ends the trial that was passed."""
        trouble, trial, record = self._look_at_trial(), self._trial, self._record
        if trouble is not None:
            raise _TrialFailed(trouble)
        if trial is not None and record.is_on_trial and trial.is_passed:
            self._trial = None
            state = State.IDLE.value if record.at is State.WATCHING else record.state
            self._put(msgspec.structs.replace(record, state=state, is_on_trial=False))
            self._service.tidy(self._record)

    # The way back.

    def _roll_back(self, error: Exception) -> None:
        record = self._record
        assert record.live is not None
        self._service.drop_next()
        log.warning("%s: %s is given up: %s", self.name, record.live.module.image, error)
        move(record.at, State.ROLLING_BACK)
        self._failures = 0
        self._trial = None
        self._put(
            Record(
                State.ROLLING_BACK.value,
                record.live,
                record.previous,
                record.live.module,
                _one_line(error),
                getattr(error, "check", None),
            )
        )

    def _finish_rollback(self, record: Record) -> float:
        """Bring ``record.previous`` back; with none, stop. Idempotent, and needs no network. What
        the host refuses is tried again; then it is left to the keeper, which tries for ever."""
        bad, old = record.live, record.previous
        assert bad is not None
        began = self._tools.clock()
        try:
            if old is None:
                self._service.retire(bad, BAD_GRACE_S)
            else:
                self._service.bring(
                    old,
                    bad,
                    lambda is_reload: self._await_back(old),
                    may_reload=record.check != "health",
                    grace_s=BAD_GRACE_S,
                )
        except GateError as error:
            log.warning("%s: the version before is not well: %s", self.name, error)
        except (EdgeError, OSError) as error:
            self._failures += 1
            if old is None or self._failures < TRIES or not self._service.is_host_well(old.host):
                self._check_stop()
                self._show(waiting_for="host", error=_one_line(error))
                return self._tools.pace.first_retry_s
            self._service.keep(old)
        self._failures = 0
        self._put(Record(State.FAILED.value, old, None, record.failed, record.error, record.check))
        self._show()
        self._tools.event(
            "rolled back",
            {
                "module": self.name,
                "image": bad.module.image,
                "to": old.module.image if old is not None else None,
                "why": record.error,
                "check": record.check,
                "seconds": round(self._tools.clock() - began, 3),
            },
        )
        self._service.tidy(self._record)
        return 0.0

    def _await_back(self, old: Release) -> None:
        """Raises GateError when it does not answer in its time."""
        self._gate(old).await_ready(self._service.live_id)

    def _gate(self, release: Release) -> Gate:
        return Gate(
            release.module, self._service.host(release.host), self._check_stop,
            clock=self._tools.clock, look_s=self._tools.pace.start_look_s,
        )  # fmt: skip

    # What did not come to pass.

    def _give_up(self, wanted: Module, error: EdgeError) -> None:
        """Nothing was switched: what was in service still is."""
        log.warning("%s: %s does not pass: %s", self.name, wanted.image, error)
        record = self._record
        move(record.at, State.FAILED)
        check = getattr(error, "check", None)
        self._put(
            Record(
                State.FAILED.value,
                record.live,
                record.previous,
                wanted,
                _one_line(error),
                check,
                record.is_on_trial,
            )
        )
        self._show()
        self._tools.event(
            "refused",
            {"module": self.name, "image": wanted.image, "why": _one_line(error), "check": check},
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
            self._service.tidy(self._record)
        elif not error.is_temporary:
            waiting_for = "registry"
        self._back_to_rest()
        self._show(waiting_for=waiting_for, error=_one_line(error))
        log.warning("%s: %s is put off: %s", self.name, wanted.image, error)
        wait_s = self._retry_s()
        if self._record.is_on_trial:
            self._watch_for(wait_s)
            return 0.0
        return wait_s

    def _watch_for(self, seconds: float) -> None:
        """A wait during which the trial goes on."""
        generation, end = self._generation, self._tools.clock() + seconds
        while not self._is_over(generation) and self._tools.clock() < end:
            self._check_trial()
            self._pause(self._tools.pace.look_s)

    def _retry_s(self) -> float:
        pace = self._tools.pace
        bound = min(pace.max_retry_s, pace.first_retry_s * 2.0 ** min(self._failures, 16))
        return bound * (0.5 + 0.5 * self._tools.draw())

    def _mend(self, record: Record) -> None:
        """What a power cut, or someone, took from what is in service: prepared again from the
        device's own store, and fetched again if that lacks it."""
        live, now, tools = record.live, self._tools.clock(), self._tools
        generation = self._generation
        if live is None or now < self._next_mend:
            return
        self._next_mend = now + tools.pace.mend_s
        for digest in live.digests:
            if not tools.stock.has(digest):
                tools.puller.pull(
                    live.module.image,
                    digest,
                    keep=sorted(tools.pinned() | self.digests()),
                    on_progress=lambda done, total: None,
                    is_cancelled=lambda: self._is_over(generation),
                )
        if self._view().health in ("unhealthy", "stopped"):
            self._service.host(live.host).prepare(live.runtime, self._stopping.is_set)
            self._service.folders.put("live", live.module.digest)
            self._service.folders.serve("live", live.module.digest)

    # Small things.

    def _view(self) -> LiveView:
        return self._service.view(self._record.live)

    def _check(self, generation: int) -> None:
        if self._is_over(generation):
            self._back_to_rest()
            raise _Over
        self._check_trial()

    def _is_over(self, generation: int) -> bool:
        return self._stopping.is_set() or self._generation != generation

    def _check_stop(self) -> None:
        """In a switch only the end of the agent counts."""
        if self._stopping.is_set():
            raise _Over

    def _back_to_rest(self) -> None:
        if self._record.at in PREPARING:
            self._move(at_rest(self._record.is_on_trial))

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _move(self, state: State) -> None:
        self._put(msgspec.structs.replace(self._record, state=move(self._record.at, state).value))

    def _put(self, record: Record) -> None:
        self._tools.records.put(self.name, record)
        self._record = record
        self._tools.on_change()

    def _show(
        self,
        *,
        waiting_for: str | None = None,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
        error: str | None = None,
    ) -> None:
        new = Progress(waiting_for, done_bytes, total_bytes, error)
        if new != self._progress:
            self._progress = new
            self._tools.on_change()


def _one_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:1000]
