"""What requests under load say, put into figures. Pure.

counted(requests)                       # {"right": 9990, "status 503": 10}
trouble_s(requests, killed_s, until_s)  # how long after the kill clients felt it
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.deployments.traffic import RIGHT, Done

SLOW_S = 0.25
"""Later than this is felt: some hundred times what the model takes."""
LATER_S = 1.0
"""What was under way when a release was taken back ends by then."""
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trouble:
    """``failed`` requests by kind, ``slow`` ones, and for how long after the event requests were
    due that came to harm."""

    requests: int
    failed: dict[str, int]
    slow: int
    lasted_s: float
    longest_s: float


def counted(requests: Iterable[Done]) -> dict[str, int]:
    """By what became of them."""
    return dict(Counter(each.fate for each in requests).most_common())


def failures(requests: Iterable[Done]) -> dict[str, int]:
    """But for the right answers."""
    return counted(each for each in requests if each.fate != RIGHT)


def quantile_ms(requests: Iterable[Done], share: float) -> float | None:
    """Of right answers."""
    times = sorted(each.took_s for each in requests if each.fate == RIGHT)
    return times[math.ceil(share * len(times)) - 1] * 1000 if times else None


def within(requests: Iterable[Done], spans: Sequence[Span]) -> list[Done]:
    """Those due in one of the spans."""
    return [each for each in requests if any(a <= each.due_s < b for a, b in spans)]


def outside(requests: Iterable[Done], spans: Sequence[Span]) -> list[Done]:
    """Those due in none of them."""
    return [each for each in requests if not any(a <= each.due_s < b for a, b in spans)]


def trouble(requests: Iterable[Done], event_s: float, until_s: float) -> Trouble:
    """After an event, and of what was under way then; until the next one."""
    own = [each for each in requests if event_s <= each.ended_s < until_s]
    harmed = [each for each in own if each.fate != RIGHT or each.took_s > SLOW_S]
    return Trouble(
        len(own),
        failures(own),
        sum(each.fate == RIGHT and each.took_s > SLOW_S for each in own),
        max((each.due_s - event_s for each in harmed), default=0.0),
        max((each.took_s for each in own if each.fate == RIGHT), default=0.0),
    )


def merged_failures(all_failures: Iterable[dict[str, int]]) -> dict[str, int]:
    """The sum."""
    found: Counter[str] = Counter()
    for each in all_failures:
        found.update(each)
    return dict(found.most_common())


def said(failed: dict[str, int]) -> str:
    """``2 status 503, 1 wrong answer``, or ``0``."""
    return ", ".join(f"{number} {kind}" for kind, number in failed.items()) or "0"


@dataclass(frozen=True, slots=True)
class Exposure:
    """Of all ``requests`` due from the declaration of a release until it was over, and of those
    ``shifting`` since it had traffic: ``answered`` by the new revision or failed, ``harmed``:
    failed, wrong or slow. Nothing but the new revision fails here."""

    requests: int
    shifting: int
    answered: int
    harmed: int

    @property
    def share(self) -> float:
        """Harmed, of all."""
        return self.harmed / self.requests if self.requests else 0.0

    @property
    def shifting_share(self) -> float:
        """Harmed, of those due while the new revision had traffic."""
        return self.harmed / self.shifting if self.shifting else 0.0


def exposure(
    requests: Iterable[Done], span: Span, shifted_s: float | None, bad: int, *, is_slow: bool
) -> Exposure:
    """``span``: from the declaration until it is over; what is harmed up to a second later counts
    too. ``shifted_s``: when the revision ``bad`` first had traffic, None where it never had.
    ``is_slow``: each of its answers is harm."""
    own = [each for each in requests if span[0] <= each.due_s < span[1] + LATER_S]
    harmed = [
        each
        for each in own
        if each.fate != RIGHT or each.took_s > SLOW_S or (is_slow and each.revision == bad)
    ]
    due = [each for each in own if each.due_s < span[1]]
    return Exposure(
        len(due),
        sum(shifted_s is not None and each.due_s >= shifted_s for each in due),
        sum(each.revision == bad or each.fate != RIGHT for each in own),
        len(harmed),
    )


def capacity_s(requests: Sequence[Done], step_s: float, late_s: float, quiet_s: float) -> float:
    """Seconds after the step until ``quiet_s`` pass in which every request that is due is answered
    within ``late_s``; infinite where that never comes."""
    last_s = max((each.due_s for each in requests), default=step_s)
    harmed = sorted(
        each.due_s
        for each in requests
        if each.due_s >= step_s and (each.fate != RIGHT or each.took_s > late_s)
    )
    from_s = step_s
    for at_s in [*harmed, math.inf]:
        if min(at_s, last_s) - from_s >= quiet_s:
            return from_s - step_s
        from_s = at_s
    return math.inf


def median(values: Sequence[float]) -> float:
    """Of at least one."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
