"""What a change of scale waits for, where somebody is asked before it. Pure.

    found = gated(gate, decision, current=2, answer=asked.answer, now_s=now_s, timeout_s=5)
    found.replicas       # what there shall be from now on
    found.ask            # a change that somebody is to be asked about now

- A change that was asked about is made as it was told, when the answer is there or its time is
  over. Only "not now" puts it off; it is asked about anew after a while.
- It is given up when nobody needs it any more, when more are needed than it would leave, and when
  it is not within what is declared any more. More replicas than are needed by then are no reason: a
  need that moves each second would otherwise be asked about for ever.
- From nothing to something goes at once: somebody waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.autoscale.decision import Decision
from runtime.hooks.answer import Answer, Result

AGAIN_S = 30.0
LEAST_AGAIN_S, MOST_AGAIN_S = 1.0, 3600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A change that somebody was asked about at ``at_s``."""

    decision: Decision
    at_s: float


@dataclass(frozen=True, slots=True)
class PutOff:
    """``said``: by whoever wants it later."""

    to: int
    until_s: float
    said: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Of one deployment; at most one of the two."""

    asked: Asked | None = None
    put_off: PutOff | None = None


@dataclass(frozen=True, slots=True)
class Gated:
    """``replicas``: as they shall be from now on; ``begins``: the decision that made it so, where
    it is another number than before; ``ask``: what somebody is to be asked about now; ``given_up``:
    somebody was asked about it, and it does not come."""

    gate: Gate
    replicas: int
    begins: Decision | None = None
    ask: Decision | None = None
    given_up: Decision | None = None


def gated(
    gate: Gate,
    decision: Decision,
    *,
    current: int,
    answer: Answer | None,
    now_s: float,
    timeout_s: float,
    most: int,
    is_asked: bool = True,
) -> Gated:
    """``current``: what there shall be until now; ``answer``: to what ``gate.asked`` asked, None
    where there is none yet; ``most``: so many are declared; ``is_asked``: whether there is anybody
    to ask."""
    asked, put_off = gate.asked, gate.put_off
    given_up: Decision | None = None
    if asked is not None:
        if not _still_holds(asked.decision.replicas, decision.replicas, current, most):
            given_up, asked = asked.decision, None
        elif answer is not None and answer.result is Result.NOT_NOW:
            until_s = now_s + _again_s(answer)
            return Gated(Gate(None, PutOff(asked.decision.replicas, until_s, answer.said)), current)
        elif answer is not None or not 0 <= now_s - asked.at_s < timeout_s:
            return Gated(Gate(), asked.decision.replicas, begins=asked.decision)
        else:
            return Gated(gate, current)
    if decision.replicas == current:
        return Gated(Gate(), current, given_up=given_up)
    if not is_asked or current == 0:
        return Gated(Gate(), decision.replicas, begins=decision, given_up=given_up)
    if put_off is not None and _is_put_off(put_off, decision, current, now_s):
        return Gated(Gate(None, put_off), current, given_up=given_up)
    return Gated(Gate(Asked(decision, now_s)), current, ask=decision, given_up=given_up)


def _still_holds(told: int, needed: int, current: int, most: int) -> bool:
    if told > current:
        return needed > current and told <= most
    return needed <= told


def _is_put_off(put_off: PutOff, decision: Decision, current: int, now_s: float) -> bool:
    """In the same direction, and not for longer than a clock that was set back would make it."""
    is_same_way = (put_off.to - current) * (decision.replicas - current) > 0
    return is_same_way and 0 < put_off.until_s - now_s <= MOST_AGAIN_S


def _again_s(answer: Answer) -> float:
    again_s = AGAIN_S if answer.again_s is None else answer.again_s
    return min(max(again_s, LEAST_AGAIN_S), MOST_AGAIN_S)
