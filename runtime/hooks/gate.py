"""Whether a change of scale may begin, where somebody is asked before it. Pure.

    found = passed(gate, change, answer, now_s=now_s, timeout_s=5)
    found.may_begin
    found.is_asking        # somebody is to be asked about it now

- It begins when the answer is there, whatever that is, or when the time for it is over.
- Only "not now" puts it off: it is asked about again after a while, and until then no other change
  in the same direction is asked about.
- From nothing to something it begins at once: somebody waits for it. It is told, and not asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.autoscale.change import Before
from runtime.hooks.answer import Answer, Result

AGAIN_S = 30.0
LEAST_AGAIN_S, MOST_AGAIN_S = 1.0, 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """About which change somebody was asked, and when."""

    change: str
    at_s: float


@dataclass(frozen=True, slots=True)
class PutOff:
    """``said``: by whoever wants it later; ``is_up``: more replicas are put off."""

    is_up: bool
    until_s: float
    said: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Of one deployment; at most one of the two."""

    asked: Asked | None = None
    put_off: PutOff | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """``gate``: as it is from now on."""

    gate: Gate
    may_begin: bool
    is_asking: bool = False


def passed(
    gate: Gate, change: Before, answer: Answer | None, *, now_s: float, timeout_s: float
) -> Passed:
    """``answer``: to what ``gate.asked`` asked, None where there is none yet. The same change is
    handed in until it may begin, or another one comes in its place."""
    is_up = change.to_replicas > change.from_replicas
    if change.from_replicas == 0:
        return Passed(Gate(), may_begin=True, is_asking=True)
    asked, put_off = gate.asked, gate.put_off
    if asked is not None and asked.change == change.change:
        if answer is not None and answer.result is Result.NOT_NOW:
            off = PutOff(is_up, now_s + _again_s(answer), answer.said)
            return Passed(Gate(put_off=off), may_begin=False)
        is_late = not 0 <= now_s - asked.at_s < timeout_s  # a clock that was set back, too
        is_over = answer is not None or is_late
        return Passed(Gate() if is_over else gate, may_begin=is_over)
    if put_off is not None and put_off.is_up == is_up and put_off.until_s - now_s > 0:
        return Passed(Gate(put_off=put_off), may_begin=False)
    return Passed(Gate(Asked(change.change, now_s)), may_begin=False, is_asking=True)


def _again_s(answer: Answer) -> float:
    again_s = AGAIN_S if answer.again_s is None else answer.again_s
    return min(max(again_s, LEAST_AGAIN_S), MOST_AGAIN_S)
