"""One process's counting. Plain lists and dictionaries: it is on the path of every request.

ledger = Ledger()
ledger.ran("digits:1", rows=8, queue_s=[0.0001, 0.0002], compute_s=0.00003)
ledger.gauge("inferry_waiting", "digits:1", 3)
published = ledger.snapshot()

Not thread-safe: the event loop's thread calls it. A model is "name" or "name:version".
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import isfinite
from typing import get_args

from scoring.metrics.families import (
    DIFFERENCES,
    FAMILIES,
    RATIOS,
    SECONDS,
    SIZES,
    Failure,
    GaugeName,
    Reason,
    Restart,
    model_labels,
)
from scoring.metrics.snapshot import Buckets, Totals, encode

EXACT_ROWS = 128
"""Batches are counted by their exact size up to here, above it by the next power of two."""


class Histogram:
    """Counts of values by their upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count one value. NaN and infinity are past the last bound and not in the sum, which
        they would make useless for good."""
        if isfinite(value):
            self.counts[bisect_left(self.bounds, value)] += times
            self.total += value * times
        else:
            self.counts[-1] += times

    def buckets(self) -> Buckets:
        """A picture of it, for a snapshot that is encoded at once."""
        return Buckets(self.counts, self.total)


class Batch:
    """How often a batch of one size ran, and for how long in all."""

    __slots__ = ("seconds", "times")

    def __init__(self) -> None:
        self.times = 0
        self.seconds = 0.0


class Sizes(dict[int, Batch]):
    """Batches by their rows."""

    def __missing__(self, rows: int) -> Batch:
        self[rows] = batch = Batch()
        return batch


class ModelLedger:
    """What is counted for one model."""

    __slots__ = (
        "answered", "answered_compute_s", "compute", "decode", "encode", "failed", "last_s",
        "not_answered_s", "queue", "rejected", "requests", "rows", "sizes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.queue = Histogram(SECONDS)
        self.compute = Histogram(SECONDS)
        self.decode = Histogram(SECONDS)
        self.encode = Histogram(SECONDS)
        self.requests = Histogram(SIZES)
        self.rows = 0
        self.sizes = Sizes()
        self.answered = 0
        self.answered_compute_s = 0.0
        self.not_answered_s = 0.0
        self.last_s = 0.0
        self.rejected: dict[str, int] = dict.fromkeys(get_args(Reason), 0)
        self.failed: dict[str, int] = dict.fromkeys(get_args(Failure), 0)


class Models(dict[str, ModelLedger]):
    """Ledgers by model key."""

    def __missing__(self, model: str) -> ModelLedger:
        self[model] = ledger = ModelLedger()
        return ledger


class Shadow:
    """What is counted for one shadowed model."""

    def __init__(self) -> None:
        self.verdicts: dict[str, int] = {}
        self.difference = Histogram(DIFFERENCES)
        self.ratio = Histogram(RATIOS)
        self.disagreeing_rows = 0


class Ledger:
    """The counters of one process; ``wall`` gives the Unix time."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._codes: dict[tuple[str, int], int] = {}
        self._routes: dict[str, Histogram] = {}
        self._models = Models()
        self._restarts: dict[str, int] = dict.fromkeys(get_args(Restart), 0)
        self._shadows: dict[str, Shadow] = {}
        self._captured: dict[str, int] = {}
        self._gauges: dict[str, dict[tuple[str, ...], float]] = {}

    def register(self, model: str) -> None:
        """Show the model from now on, with zeros."""
        self._models[model]

    def answered(self, route: str, code: int, seconds: float) -> None:
        """One answer, ``seconds`` after the request's first byte. ``route`` is of a fixed set."""
        key = (route, code)
        try:
            self._codes[key] += 1
        except KeyError:
            self._codes[key] = 1
            self._routes.setdefault(route, Histogram(SECONDS))
        histogram = self._routes[route]
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds

    def ran(
        self, model: str, rows: int, queue_s: Sequence[float], compute_s: float, failed: int = 0
    ) -> None:
        """One batch came back. ``queue_s``: how long each of its requests waited; ``failed``: how
        many of them have no answer (each is counted by ``failed`` unless it runs again)."""
        book = self._models[model]
        requests = len(queue_s)
        answered = requests - failed
        waits = book.queue.counts
        for waited in queue_s:
            waits[bisect_left(SECONDS, waited)] += 1
        book.queue.total += sum(queue_s)
        book.compute.counts[bisect_left(SECONDS, compute_s)] += 1
        book.compute.total += compute_s
        book.requests.counts[bisect_left(SIZES, requests)] += 1
        book.requests.total += requests
        book.rows += rows
        # Powers of two are the histogram's bounds, so it can be made from these in snapshot().
        batch = book.sizes[rows if rows <= EXACT_ROWS else 1 << (rows - 1).bit_length()]
        batch.times += 1
        batch.seconds += compute_s
        if answered:
            book.answered += answered
            book.answered_compute_s += compute_s * answered
            book.last_s = self._wall()

    def decoded(self, model: str, seconds: float) -> None:
        """One body became inputs."""
        histogram = self._models[model].decode
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds

    def encoded(self, model: str, seconds: float) -> None:
        """One request's outputs became a body."""
        histogram = self._models[model].encode
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds

    def rejected(self, model: str, reason: Reason, seconds: float = 0.0) -> None:
        """One request was not run; ``seconds`` since it came."""
        book = self._models[model]
        book.rejected[reason] += 1
        book.not_answered_s += seconds

    def failed(self, model: str, kind: Failure, seconds: float = 0.0) -> None:
        """The engine failed on one request for good; ``seconds`` since it came."""
        book = self._models[model]
        book.failed[kind] += 1
        book.not_answered_s += seconds

    def restarted(self, kind: Restart, times: int = 1) -> None:
        """A worker or a server process had to be replaced."""
        self._restarts[kind] += times

    def shadowed(
        self,
        model: str,
        verdict: str,
        *,
        max_difference: float | None = None,
        duration_ratio: float | None = None,
        disagreeing_rows: int = 0,
    ) -> None:
        """One request of ``model`` was mirrored: ``verdict`` is comparison.Verdict's value, or
        "dropped". ``max_difference`` is absolute; the ratio is the shadow's time / the primary's"""
        shadow = self._shadows.setdefault(model, Shadow())
        shadow.verdicts[verdict] = shadow.verdicts.get(verdict, 0) + 1
        shadow.disagreeing_rows += disagreeing_rows
        if max_difference is not None:
            shadow.difference.observe(max_difference)
        if duration_ratio is not None:
            shadow.ratio.observe(duration_ratio)

    def captured(self, *, written: int, dropped: int, failed: int) -> None:
        """How many requests Capture has written, dropped and failed to write **so far** (it counts
        in a thread of its own)."""
        self._captured = {"written": written, "dropped": dropped, "failed": failed}

    def gauge(
        self, name: GaugeName, model: str, value: float, *, reason: str | None = None
    ) -> None:
        """A value for the next snapshot, which forgets it: so nothing stale stays. ``model`` is ""
        for what belongs to the process; ``reason`` is for inferry_batching."""
        labels = model_labels(model) if "model" in FAMILIES[name].labels else ()
        more = () if reason is None else (reason,)
        self._gauges.setdefault(name, {})[(*labels, *more)] = value

    def snapshot(self) -> bytes:
        """All of it as bytes; the gauges start anew."""
        totals = Totals()
        self._add_requests(totals)
        for model, book in self._models.items():
            _add_model(totals, model_labels(model), book)
        for model, shadow in self._shadows.items():
            _add_shadow(totals, model_labels(model), shadow)
        for name, of_name in self._gauges.items():
            found = totals.gauges.setdefault(name, {})
            found.update((labels, [value]) for labels, value in of_name.items())
        self._gauges = {}
        return encode(totals)

    def _add_requests(self, totals: Totals) -> None:
        for (route, code), times in self._codes.items():
            _count(totals, "inferry_requests_total", (route, str(code)), times)
        for route, histogram in self._routes.items():
            of_name = totals.histograms.setdefault("inferry_request_seconds", {})
            of_name[(route,)] = histogram.buckets()
        for kind, times in self._restarts.items():
            _count(totals, "inferry_restarts_total", (kind,), times)
        for outcome, times in self._captured.items():
            _count(totals, "inferry_captured_total", (outcome,), times)


def _add_model(totals: Totals, labels: tuple[str, str], book: ModelLedger) -> None:
    rows = Histogram(SIZES)
    for size, batch in book.sizes.items():
        rows.observe(size, batch.times)
        _count(totals, "inferry_batches_total", (*labels, str(size)), batch.times)
        _count(totals, "inferry_batches_seconds_total", (*labels, str(size)), batch.seconds)
    rows.total = float(book.rows)
    for name, histogram in {
        "inferry_queue_seconds": book.queue,
        "inferry_compute_seconds": book.compute,
        "inferry_decode_seconds": book.decode,
        "inferry_encode_seconds": book.encode,
        "inferry_batch_requests": book.requests,
        "inferry_batch_rows": rows,
    }.items():
        totals.histograms.setdefault(name, {})[labels] = histogram.buckets()
    for reason, times in book.rejected.items():
        _count(totals, "inferry_rejected_total", (*labels, reason), times)
    for kind, times in book.failed.items():
        _count(totals, "inferry_failed_total", (*labels, kind), times)
    _count(totals, "inferry_answered_total", labels, book.answered)
    _count(totals, "inferry_answered_compute_seconds_total", labels, book.answered_compute_s)
    _count(totals, "inferry_not_answered_seconds_total", labels, book.not_answered_s)
    if book.last_s:
        last = totals.gauges.setdefault("inferry_last_answer_timestamp_seconds", {})
        last[labels] = [book.last_s]


def _add_shadow(totals: Totals, labels: tuple[str, str], shadow: Shadow) -> None:
    for verdict, times in shadow.verdicts.items():
        _count(totals, "inferry_shadowed_total", (*labels, verdict), times)
    _count(totals, "inferry_shadow_disagreeing_rows_total", labels, shadow.disagreeing_rows)
    for name, histogram in {
        "inferry_shadow_difference": shadow.difference,
        "inferry_shadow_duration_ratio": shadow.ratio,
    }.items():
        totals.histograms.setdefault(name, {})[labels] = histogram.buckets()


def _count(totals: Totals, name: str, labels: tuple[str, ...], value: float) -> None:
    totals.counters.setdefault(name, {})[labels] = value
