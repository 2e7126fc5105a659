"""The page that GET /metrics answers: all processes' numbers in the text format that was asked for.

page = render([past, *live], triton_names=True, accept=request.headers["accept"])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from scoring.metrics import triton
from scoring.metrics.families import FAMILIES, Family, Merge
from scoring.metrics.snapshot import Totals, combine

if TYPE_CHECKING:
    from prometheus_client import Metric


@dataclass(frozen=True, slots=True)
class Page:
    """An answer's body and Content-Type."""

    body: bytes
    content_type: str


def render(
    snapshots: Iterable[bytes], *, triton_names: bool = False, accept: str | None = None
) -> Page:
    """The Prometheus text format, or OpenMetrics where ``accept`` asks for it."""
    # Imported here: its HTTP server costs a process 20 to 90 ms at start, and only the process
    # that is asked for metrics needs it.
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    totals = combine(snapshots)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(totals, triton_names))
    try:
        encode, content_type = choose_encoder(accept or "")
    except (ValueError, TypeError):  # a version that is none
        encode, content_type = choose_encoder("")
    return Page(encode(registry), content_type)


class _Collector:
    """Hands the totals to prometheus_client, which escapes and formats."""

    def __init__(self, totals: Totals, triton_names: bool) -> None:
        self._totals = totals
        self._triton_names = triton_names

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES.values():
            metric = _metric(family, self._totals) if family.is_shown else None
            if metric is not None:
                yield metric
        if self._triton_names:
            yield from _aliases(self._totals)


def _metric(family: Family, totals: Totals) -> Metric | None:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    if family.kind == "counter":
        counter = CounterMetricFamily(family.name, family.text, labels=family.labels)
        for labels, value in totals.counters.get(family.name, {}).items():
            counter.add_metric(labels, value)
        return counter if counter.samples else None
    if family.kind == "gauge":
        gauge = GaugeMetricFamily(family.name, family.text, labels=family.labels)
        for labels, values in totals.gauges.get(family.name, {}).items():
            gauge.add_metric(labels, _merged(values, family.merge))
        return gauge if gauge.samples else None
    histogram = HistogramMetricFamily(family.name, family.text, labels=family.labels)
    for labels, found in totals.histograms.get(family.name, {}).items():
        bounds = [*(str(bound) for bound in family.bounds), "+Inf"]
        counts = accumulate(float(count) for count in found.counts)
        histogram.add_metric(labels, list(zip(bounds, counts, strict=True)), found.total)
    return histogram if histogram.samples else None


def _merged(values: list[float], merge: Merge) -> float:
    if merge is Merge.SUM:
        return sum(values)
    return max(values) if merge is Merge.MAX else sum(values) / len(values)


def _aliases(totals: Totals) -> Iterator[Metric]:
    from prometheus_client import Metric

    for alias in triton.aliases(totals):
        # Triton's counters have no "_total", which prometheus_client insists on: hence "unknown".
        metric = Metric(alias.name, alias.text, "unknown")
        for labels, value in alias.samples:
            metric.add_sample(alias.name, dict(labels), value)
        yield metric
