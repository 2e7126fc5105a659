"""The numbers of one or more processes as bytes, and adding them up.

A snapshot of another layout, or one read while it was being written, is not fatal to the page: it
is left out and counted (inferry_metrics_unreadable).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from scoring.metrics.families import FAMILIES

LAYOUT = 1
"""To be raised whenever ``Totals`` or the bounds of a histogram change."""
UNREADABLE = "inferry_metrics_unreadable"

Labels = tuple[str, ...]


class Buckets(msgspec.Struct, array_like=True):
    """A histogram: how many values lie in each bucket (the last one has no bound), and their sum"""

    counts: list[int]
    total: float

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


class Totals(msgspec.Struct, array_like=True):
    """All numbers by family name and label values. A gauge has a value for each process."""

    layout: int = LAYOUT
    counters: dict[str, dict[Labels, float]] = msgspec.field(default_factory=dict)
    histograms: dict[str, dict[Labels, Buckets]] = msgspec.field(default_factory=dict)
    gauges: dict[str, dict[Labels, list[float]]] = msgspec.field(default_factory=dict)

    def add(self, other: Totals) -> None:
        """Add another process's numbers; ValueError when they do not fit, and nothing is added."""
        other.check()
        for name, counters in other.counters.items():
            mine = self.counters.setdefault(name, {})
            for labels, value in counters.items():
                mine[labels] = mine.get(labels, 0) + value
        for name, histograms in other.histograms.items():
            _add_histograms(self.histograms.setdefault(name, {}), histograms)
        for name, gauges in other.gauges.items():
            of_name = self.gauges.setdefault(name, {})
            for labels, values in gauges.items():
                of_name.setdefault(labels, []).extend(values)

    def check(self) -> None:
        """ValueError when this is not of this program's layout."""
        if self.layout != LAYOUT:
            raise ValueError(f"layout {self.layout} is not {LAYOUT}")
        for name in (*self.counters, *self.histograms, *self.gauges):
            if name not in FAMILIES:
                raise ValueError(f"{name} is no metric")
        for name, histograms in self.histograms.items():
            buckets = len(FAMILIES[name].bounds) + 1
            if any(len(found.counts) != buckets for found in histograms.values()):
                raise ValueError(f"{name} has other buckets")

    def counter(self, name: str, *labels: str) -> float:
        """The sum of a counter's series whose label values start with ``labels``."""
        of_name = self.counters.get(name, {})
        return sum(v for key, v in of_name.items() if key[: len(labels)] == labels)

    def histogram(self, name: str, *labels: str) -> Buckets:
        """A histogram's series; an empty one when there is none."""
        return self.histograms.get(name, {}).get(labels) or Buckets([], 0.0)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Totals).decode


def encode(totals: Totals) -> bytes:
    """The bytes that ``combine`` reads."""
    return _encode(totals)


def combine(snapshots: Iterable[bytes]) -> Totals:
    """All processes' numbers together. An empty snapshot is a process that counted nothing yet."""
    sum_of_all = Totals()
    unreadable = 0.0
    for snapshot in snapshots:
        if not snapshot:
            continue
        try:
            sum_of_all.add(_decode(snapshot))
        except (msgspec.MsgspecError, ValueError):
            unreadable += 1
    sum_of_all.gauges[UNREADABLE] = {(): [unreadable]}
    return sum_of_all


def merge(snapshots: Iterable[bytes]) -> bytes:
    """One snapshot of processes that are gone: their gauges vanish, all else adds up."""
    totals = combine(snapshots)
    totals.gauges = {
        name: {labels: [max(values)] for labels, values in of_name.items()}
        for name, of_name in totals.gauges.items()
        if FAMILIES[name].survives
    }
    return encode(totals)


def _add_histograms(mine: dict[Labels, Buckets], others: dict[Labels, Buckets]) -> None:
    for labels, other in others.items():
        found = mine.get(labels)
        if found is None:
            mine[labels] = Buckets(list(other.counts), other.total)
        else:
            found.counts = [a + b for a, b in zip(found.counts, other.counts, strict=True)]
            found.total += other.total
