"""Decides what happens to a request: pure, synchronous, no clock of its own.

    admit(load, ...)      let in, or refuse at the door with the reason and when to come again
    rows_limit(cost, ...) how many rows the next batch may have

Nothing ever waits on a timer: what has arrived while the engine was busy runs when it is free.
Batches are counted in rows, never split, and only grow where the fitted cost says that it pays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scoring.cost import CostModel

Reason = Literal["full", "deadline", "draining"]

DEFAULT_MAX_BATCH = 64
"""Rows of a merged batch when nobody says: the gain of more is small, the wait is not."""
WORTH_A_THREAD = 1.5
"""A full batch runs on the thread where a row of it costs this many times less than one of the
largest batch that the event loop may run."""
PROBE_EVERY = 64
"""While merging does not pay, every so many batches two requests are merged to see whether it still
does not."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the policy looks at. ``running`` counts batches; ``running_s`` is what they are expected
    to need yet, in engine seconds; ``slots`` includes the busy ones."""

    waiting: int
    waiting_rows: int
    running: int
    slots: int
    cost: CostModel
    merges: bool = False
    max_batch: int = DEFAULT_MAX_BATCH
    running_s: float = 0.0
    inline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request is not let in; trying again makes sense after ``retry_after_s`` seconds."""

    reason: Reason
    retry_after_s: float


def admit(
    load: Load,
    *,
    rows: int,
    queue_limit: int,
    left_s: float | None,
    drain_left_s: float | None = None,
) -> Refusal | None:
    """None when one more request of ``rows`` rows may wait (or run), else why not. ``left_s`` is
    what its deadline leaves, ``drain_left_s`` what a stopping server leaves."""
    if load.waiting >= queue_limit:
        return Refusal("full", drain_s(load))
    if left_s is None and drain_left_s is None:
        return None
    needs_s = drain_s(load) + load.cost.surely(rows)
    if not load.cost.known:
        needs_s = 0.0  # nothing was measured yet: let it try
    if drain_left_s is not None and needs_s > drain_left_s:
        return Refusal("draining", drain_left_s)
    if left_s is not None and needs_s > left_s:
        return Refusal("deadline", max(0.0, needs_s - left_s))
    return None


def drain_s(load: Load) -> float:
    """Seconds until all that waits and runs has been answered, with the places there are now."""
    return (load.running_s + _waiting_s(load)) / max(1, load.slots)


def _waiting_s(load: Load) -> float:
    if not load.waiting:
        return 0.0
    cost = load.cost
    if not cost.known:
        return load.waiting * cost.seconds(1)
    limit = most_rows(cost, merges=load.merges, max_batch=load.max_batch, inline_s=load.inline_s)
    batches = min(load.waiting, -(-load.waiting_rows // limit))
    return cost.a * load.waiting_rows + cost.b * batches


def rows_limit(
    cost: CostModel,
    *,
    merges: bool,
    max_batch: int,
    inline_s: float | None,
    batches: int,
    rows: int = 1,
) -> int:
    """Rows that the next batch may have, whose first request has ``rows``; 1 means: that request
    only, whatever its rows. ``batches`` is how many have run so far."""
    if merges and not cost.pays and batches % PROBE_EVERY == 0:
        return max(1, min(max_batch, 2 * rows))
    return most_rows(cost, merges=merges, max_batch=max_batch, inline_s=inline_s)


def most_rows(cost: CostModel, *, merges: bool, max_batch: int, inline_s: float | None) -> int:
    """Rows that a batch may have, unless it is one to see whether merging pays. ``inline_s`` bounds
    what runs on the event loop itself."""
    if not merges or max_batch <= 1 or not cost.pays:
        return 1
    if inline_s is None or cost.seconds(1) > inline_s or cost.a <= 0:
        return max_batch
    inline_rows = max(1, min(max_batch, int((inline_s - cost.b) / cost.a)))
    on_thread = cost.a + cost.b / max_batch
    if on_thread * WORTH_A_THREAD < cost.a + cost.b / inline_rows:
        return max_batch  # the loop's limit would cost more than two thread switches save
    return inline_rows
