"""How many replicas a deployment should have now, and why: pure, given what it has seen.

    history = observe(declared, history, sample, now_s)
    decision = decide(declared, history, wanted=3, now_s=now_s)     Decision(replicas=4, why=...)

- More at once (or after ``up_s``), as many as the load needs when they are ready.
- Fewer only when the highest need of the last ``down_s`` allows it (longer where replicas start
  slowly), and only when every ready replica has just said what it does. What is not known is not
  zero.
- A load of ``panic_threshold`` times what the ready replicas can do does not wait for ``up_s``.
- The last one goes when nobody has asked for ``zero_grace_s``, where none at all is declared.

It may be asked as often as one likes; the answer changes only with the history and the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from runtime.autoscale.declared import Declared
from runtime.autoscale.extremes import extreme
from runtime.autoscale.history import History, since_boot
from runtime.autoscale.learned import hold_s
from runtime.autoscale.reading import Reading

STEP = 0.25
"""Of the replicas, at most this part goes at once while the rate of one is not known for sure."""
SETTLED_S = 15.0
"""...and the next only when those that are left have worked for so long."""
ROUNDING = 1e-9


class Cause(Enum):
    """Why, in a word, for metrics and hooks."""

    STEADY = "steady"
    DECLARED = "declared"
    MORE = "more"
    PANIC = "panic"
    FEWER = "fewer"
    WAITS = "waits"
    UNKNOWN = "unknown"
    ASLEEP = "asleep"
    AWAKE = "awake"
    EXTERNAL = "external"
    """Another one decided (runtime/deployments/outside.py)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``why`` is one sentence for people; ``replicas`` is always within what is declared."""

    replicas: int
    why: str
    cause: Cause


def decide(declared: Declared, history: History, *, wanted: int, now_s: float) -> Decision:
    """``wanted``: how many replicas the deployment is to have until now, those that are starting
    included. Never raises."""
    history = since_boot(history, now_s)
    bounded = declared.within(wanted)
    if bounded != wanted:
        return Decision(bounded, f"{_bounds(declared)} declared, not {wanted}", Cause.DECLARED)
    newest = history.newest
    if newest is None:
        return Decision(wanted, "Nothing has been seen of it yet", Cause.UNKNOWN)
    if not now_s - newest.at_s <= declared.stale_s:  # also where the clock says NaN
        return Decision(wanted, f"Nothing was seen of it for {_age(now_s, newest)}", Cause.UNKNOWN)
    if history.demand is None:
        return Decision(
            wanted, f"None of {newest.ready} ready replicas said what it does", Cause.UNKNOWN
        )
    more = _more(declared, history, wanted, now_s)
    return more or _fewer(declared, history, newest, wanted, now_s)


def _more(declared: Declared, history: History, wanted: int, now_s: float) -> Decision | None:
    """None: what is wanted is enough."""
    need, newest = history.demand, history.newest
    assert need is not None
    assert newest is not None
    if wanted == 0:
        if not newest.held and not newest.is_active:
            return None
        why = f"{_requests(newest.held)} held while there is no replica"
        return Decision(declared.within(max(1, _whole(need.replicas))), why, Cause.AWAKE)
    is_panic = newest.ready > 0 and need.short >= declared.panic_threshold * newest.ready
    if is_panic:
        found: float | None = max(need.replicas, need.short)
    else:
        found = extreme(history.lows, min, declared.up_s, now_s)
    replicas = declared.within(_whole(found)) if found is not None else wanted
    if replicas > wanted:
        what = f"{_load(history, newest)} needs {_fraction(found)} replicas"
        tail = f", and {wanted} are wanted until now"
        if is_panic:
            return Decision(replicas, f"Panic: {what}{tail}", Cause.PANIC)
        return Decision(replicas, f"{what}{tail}", Cause.MORE)
    if _whole(need.replicas) > wanted:
        if wanted == declared.max_replicas:
            why = f"{_load(history, newest)} needs {_fraction(need.replicas)} replicas, but"
            return Decision(wanted, f"{why} {_bounds(declared)} declared", Cause.DECLARED)
        why = f"More than {wanted} are needed, but not yet for {declared.up_s:g} s"
        return Decision(wanted, why, Cause.WAITS)
    return None


def _fewer(
    declared: Declared, history: History, newest: Reading, wanted: int, now_s: float
) -> Decision:
    need = history.demand
    assert need is not None
    least = max(declared.min_replicas, 1)
    now = max(least, _whole(need.replicas))
    if wanted <= least:
        return _last(declared, history, newest, wanted, now_s)
    if now >= wanted:
        return Decision(wanted, f"{_load(history, newest)} needs what there is", Cause.STEADY)
    if newest.unknown:
        why = f"{newest.unknown} of {newest.ready} ready replicas did not say what they do"
        return Decision(wanted, f"{why}, so none goes", Cause.UNKNOWN)
    window_s = hold_s(declared, history.learned)
    highest = extreme(history.highs, max, window_s, now_s)
    replicas = wanted if highest is None else max(least, _whole(highest))
    if highest is None or replicas >= wanted:
        why = f"{now} would be enough now, but not yet for {window_s:.0f} s"
        return Decision(wanted, why, Cause.WAITS)
    if newest.ready and newest.arrived_rps is None:
        return Decision(wanted, "The rate of requests is not known yet", Cause.UNKNOWN)
    if not history.learned.is_sure:
        if not _has_settled(history, wanted):
            why = f"What a replica can do is not known yet, nor how {wanted} of them do"
            return Decision(wanted, why, Cause.WAITS)
        replicas = max(replicas, wanted - max(1, int(wanted * STEP)))
    why = f"At most {_fraction(highest)} replicas were needed for {window_s:.0f} s"
    return Decision(declared.within(replicas), why, Cause.FEWER)


def _has_settled(history: History, wanted: int) -> bool:
    """Just so many have answered for a while, so that it shows what each of them does."""
    readings = history.readings
    since_s = readings[-1].at_s - SETTLED_S
    late = [reading.ready for reading in readings if reading.at_s >= since_s]
    return readings[0].at_s <= since_s and all(ready == wanted for ready in late)


def _last(
    declared: Declared, history: History, newest: Reading, wanted: int, now_s: float
) -> Decision:
    """One replica, or none: whether the last goes to sleep, or goes on sleeping."""
    if wanted == 0:
        return Decision(0, "Nobody asks", Cause.ASLEEP)
    if declared.min_replicas > 0:
        return Decision(wanted, f"{_load(history, newest)} needs no more", Cause.STEADY)
    if newest.unknown:
        why = f"{newest.unknown} of {newest.ready} ready replicas did not say what they do"
        return Decision(wanted, f"{why}, so the last stays", Cause.UNKNOWN)
    idle_s = 0.0 if history.idle_since_s is None else now_s - history.idle_since_s
    if history.idle_since_s is None or newest.starting or not newest.ready:
        return Decision(wanted, f"{_load(history, newest)} needs no more", Cause.STEADY)
    if idle_s < declared.zero_grace_s:
        why = f"Nobody has asked for {idle_s:.0f} s; it sleeps after {declared.zero_grace_s:g} s"
        return Decision(wanted, why, Cause.WAITS)
    return Decision(0, f"Nobody has asked for {idle_s:.0f} s", Cause.ASLEEP)


def _whole(need: float | None) -> int:
    """Whole replicas for a need; a need without end is as many as there may be."""
    if need is None or not need > 0.0:  # NaN too, which none of our own sums makes
        return 0
    return math.ceil(min(need, 1e9) - ROUNDING)


def _fraction(need: float | None) -> str:
    return "?" if need is None else f"{need:.1f}"


def _load(history: History, newest: Reading) -> str:
    need = history.demand
    if need is not None and need.rate_rps is not None and history.learned.rate_rps:
        rising = ", which grows," if need.grows else ""
        return f"{need.rate_rps:.3g} requests/s{rising} at {history.learned.rate_rps:.3g} a replica"
    return f"{newest.in_flight:.3g} requests in flight"


def _bounds(declared: Declared) -> str:
    least, most = declared.min_replicas, declared.max_replicas
    return f"{least} to {most} replicas are" if most > 1 else f"{least} to {most} replica is"


def _requests(count: int) -> str:
    return "1 request is" if count == 1 else f"{count} requests are"


def _age(now_s: float, newest: Reading) -> str:
    age_s = now_s - newest.at_s
    return f"{age_s:.0f} s" if math.isfinite(age_s) else "an unknown time"
