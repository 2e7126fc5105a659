"""Whether a new version may come into service: it is up, and answers its golden inputs rightly, in
time. All that it asks is asked of instances on this device: no network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from edge.errors import GateError
from edge.hosts.port import InstanceId, ModuleHost, Observed
from edge.keeping.http_probe import probe as http_probe
from edge.messages.desired import Module
from edge.switch.golden import (
    Answer,
    Golden,
    check_answer,
    check_expected,
    check_finite,
    check_latency,
    check_shape,
    is_finite,
)
from edge.switch.scoring import body_of, score

LOG_LINES = 15
FLOOR_S = 0.020
"""Below this no answer is too slow, whatever the old version takes: noise."""
TIMED_CASES, TIMED_ROUNDS = 5, 5
MAX_ANSWER_S = 30.0
Check = Callable[[], None]
"""Raises when the gate is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Before:
    """Answers of the version before to the first golden inputs (None: it has none), and times."""

    answers: Sequence[Answer | None]
    seconds: Sequence[float]


class Gate:
    """Of one module. ``check`` is called often."""

    def __init__(
        self,
        module: Module,
        host: ModuleHost,
        check: Check,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        look_s: float = 0.1,
    ) -> None:
        self._module = module
        self._host = host
        self._check = check
        self._clock = clock
        self._sleep = sleep
        self._look_s = look_s
        self._deadline = clock() + module.update.start_s

    def await_ready(self, id: InstanceId) -> Observed:
        """The instance, once it says that it is ready. Raises GateError("health"), HostError."""
        error = "it did not start"
        while self._clock() < self._deadline:
            self._check()
            seen = find(self._host, id)
            if seen is not None and seen.state == "exited":
                raise GateError("health", self._ended(seen))
            if seen is not None and seen.port is None:
                error = "it does not say where it answers"
            if seen is not None and seen.port is not None:
                left_s = max(0.1, min(self._module.probe.timeout_s, self._deadline - self._clock()))
                found = http_probe(seen.address, seen.port, self._module.probe.path, left_s)
                if found is None:
                    return seen
                error = found
            self._sleep(self._look_s)
        raise GateError(
            "health", f"it was not ready within {self._module.update.start_s:g} s: {error}"
        )

    def pass_golden(
        self,
        new: Observed,
        old: Observed | None,
        golden: Golden,
        *,
        before: Before | None = None,
        is_made: bool = False,
        is_timed: bool = True,
    ) -> None:
        """Raises GateError. ``old``: answers beside it, for comparison; ``before``: what it did
        before it was stopped. ``is_made``: the inputs are zeros that nobody chose, to which a good
        model may answer NaN; then the old version says whether that is good."""
        timed_new: list[float] = []
        timed_old: list[float] = [] if before is None else list(before.seconds)
        known = [] if before is None else before.answers
        for number, case in enumerate(golden.cases):
            self._check()
            what = f"golden input {number + 1}"
            body = body_of(case.input)
            document = check_answer(self._ask(new, body, what), what)
            if case.output is not UNSET:
                check_expected(document, case.output, golden.tolerance, what)
                said = self._old_answer(old, body) if number < TIMED_CASES else None
            else:
                said = known[number] if number < len(known) else self._old_answer(old, body)
                self._compare(document, said, what, is_made=is_made)
            if said is None:
                old = None  # it does not answer such requests: it is no measure
            if is_timed and number < TIMED_CASES:
                self._time(new, old, body, timed_new, timed_old)
        if timed_new:
            check_latency(_median(timed_new), None, golden.max_latency_ms, None, FLOOR_S)
            check_latency(
                _quick(timed_new),
                _quick(timed_old) if timed_old else None,
                None,
                self._module.update.latency_factor,
                FLOOR_S,
            )

    def look_at(self, old: Observed, golden: Golden) -> Before:
        """What the old version does with the golden inputs, for when it is stopped."""
        answers: list[Answer | None] = []
        seconds: list[float] = []
        for number, case in enumerate(golden.cases):
            self._check()
            body = body_of(case.input)
            answers.append(self._old_answer(old, body))
            if answers[-1] is None:
                break
            for _ in range(TIMED_ROUNDS if number < TIMED_CASES else 0):
                again = self._old_answer(old, body)
                if again is not None:
                    seconds.append(again.seconds)
        return Before(answers, seconds)

    def _compare(self, document: Any, before: Answer | None, what: str, *, is_made: bool) -> None:
        """Of an answer that nobody knows: its numbers are some, and it has the old one's form."""
        said = None if before is None else check_answer(before, what)
        if not (is_made and (before is None or not is_finite(said))):
            check_finite(document, what)
        if before is not None:
            check_shape(document, said, what)

    def _time(
        self,
        new: Observed,
        old: Observed | None,
        body: bytes,
        timed_new: list[float],
        timed_old: list[float],
    ) -> None:
        """Interleaved, so that a busy device slows both alike."""
        for _ in range(TIMED_ROUNDS):
            self._check()
            timed_new.append(self._ask(new, body, "a golden input").seconds)
            again = self._old_answer(old, body)
            if again is not None:
                timed_old.append(again.seconds)

    def _ask(self, new: Observed, body: bytes, what: str) -> Answer:
        left_s = min(MAX_ANSWER_S, self._deadline - self._clock())
        if left_s <= 0:
            raise GateError(
                "latency",
                f"the golden inputs take longer than {self._module.update.start_s:g} s"
                " (update.start_s)",
            )
        try:
            return score(new, body, left_s)
        except OSError as error:
            seen = find(self._host, new.id)
            if seen is None or seen.state == "exited":
                raise GateError("health", f"{what}: {self._ended(seen)}") from error
            check = "latency" if isinstance(error, TimeoutError) else "status"
            raise GateError(check, f"{what}: {error}") from error

    def _old_answer(self, old: Observed | None, body: bytes) -> Answer | None:
        """None: it does not answer this in time; then it is no measure."""
        left_s = min(MAX_ANSWER_S, (self._deadline - self._clock()) / 2)
        if old is None or left_s <= 0:
            return None
        try:
            answer = score(old, body, left_s)
            check_answer(answer, "")
        except (OSError, GateError):
            return None
        return answer

    def _ended(self, seen: Observed | None) -> str:
        if seen is None:
            return "it is gone"
        why = f"it ended with exit code {seen.exit_code}"
        if seen.is_out_of_memory:
            why = "it was killed: out of memory"
        return why + last_words(self._host, seen.id)


def find(host: ModuleHost, id: InstanceId) -> Observed | None:
    """The instance as it is; None when there is none. Raises HostError."""
    return next((each for each in host.list() if each.id == id), None)


def last_words(host: ModuleHost, id: InstanceId) -> str:
    """What an instance said last, as the end of a sentence."""
    try:
        lines = host.logs(id, LOG_LINES).strip().splitlines()
    except Exception:  # what it said is an extra
        lines = []
    return f"; its last words: {' | '.join(lines)[-400:]}" if lines else ""


def _quick(values: list[float]) -> float:
    """Of the quicker ones: where one instance serves clients meanwhile and the other does not, its
    median is mostly the wait for them."""
    return sorted(values)[len(values) // 4]


def _median(values: list[float]) -> float:
    """The higher of the two in the middle. (The module statistics would take 0.7 MB.)"""
    return sorted(values)[len(values) // 2]
