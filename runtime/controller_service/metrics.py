"""Deployments as Prometheus families, in its text format. Pure, but for the library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.controller_service.rollouts import OUTCOMES
from runtime.controller_service.view import STATES, View

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OF = "inferry_deployment"


@dataclass(frozen=True, slots=True)
class Told:
    """All that a page has. ``rollouts``: by deployment and outcome."""

    views: Sequence[View]
    uptime_s: float
    balancer_age_s: float
    haproxy_restarts: int
    rollouts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def metrics_page(told: Told) -> bytes:
    """The page."""
    # Imported here: it is an extra, and its HTTP server costs 20 to 90 ms.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Page(Collector):
        def collect(self) -> Iterable[Metric]:
            return _families(told)

    registry = CollectorRegistry()
    registry.register(Page())
    return generate_latest(registry)


def _families(told: Told) -> Iterator[Metric]:
    yield _gauge("inferry_controller_uptime_seconds", "Since it began.", [((), told.uptime_s)])
    yield _gauge(
        "inferry_controller_balancer_age_seconds",
        "Since the balancer was looked at.",
        [((), told.balancer_age_s)],
    )
    yield _counter(
        "inferry_controller_haproxy_restarts",
        "How often HAProxy ended by itself and was started again.",
        [((), told.haproxy_restarts)],
    )
    yield from _states(told.views)
    yield from _loads(told.views)
    yield from _changes(told.views)
    yield from _ticks(told.views)
    yield _counter(
        f"{_OF}_rollouts",
        "Rollouts that ended, since there is the deployment.",
        [
            ((each.name, outcome), told.rollouts.get(each.name, {}).get(outcome, 0))
            for each in told.views
            for outcome in OUTCOMES.values()
        ],
        "outcome",
    )


def _states(views: Sequence[View]) -> Iterator[Metric]:
    yield _gauge(
        f"{_OF}_state",
        "1 for the state that it has.",
        [((v.name, state), float(v.state == state)) for v in views for state in STATES],
        "state",
    )
    for what, help in (
        ("replicas_wanted", "Replicas that there shall be."),
        ("replicas_ready", "Replicas that answer."),
        ("traffic_ratio", "Part of the traffic, of 1."),
    ):
        yield _gauge(
            f"{_OF}_{what}",
            help,
            [
                ((v.name, str(revision)), _by_revision(v, what).get(revision, 0))
                for v in views
                if what != "replicas_wanted" or v.wanted is not None
                for revision in sorted({*(v.wanted or ()), *v.ready, *v.traffic})
            ],
            "revision",
        )
    yield _gauge(
        f"{_OF}_scale_replicas",
        "Replicas that all of the traffic needs, as decided last.",
        [((v.name,), v.scale) for v in views if v.scale is not None],
    )
    for what, help in (("min", "The fewest replicas"), ("max", "The most replicas")):
        yield _gauge(
            f"{_OF}_scale_replicas_{what}",
            f"{help} that are declared.",
            [((v.name,), v.least if what == "min" else v.most) for v in views],
        )


def _by_revision(view: View, what: str) -> Mapping[int, float]:
    return {
        "replicas_wanted": view.wanted or {},
        "replicas_ready": view.ready,
        "traffic_ratio": view.traffic,
    }[what]


def _loads(views: Sequence[View]) -> Iterator[Metric]:
    yield _gauge(
        f"{_OF}_requests_held",
        "Requests that wait as there is no replica.",
        [((v.name,), v.held) for v in views if v.held is not None],
    )
    yield _gauge(
        f"{_OF}_requests_in_flight",
        "Requests that replicas have, as HAProxy sees them.",
        [((v.name,), v.in_flight) for v in views if v.in_flight is not None],
    )
    yield _gauge(
        f"{_OF}_queue_seconds",
        "How long replicas need for what they have, on average, as they say.",
        [((v.name,), v.unit.queue_s) for v in views if v.unit.queue_s is not None],
    )


def _changes(views: Sequence[View]) -> Iterator[Metric]:
    yield _counter(
        f"{_OF}_scale_changes",
        "Changes of scale that began, since the controller did.",
        [
            ((v.name, cause, direction), count)
            for v in views
            for (cause, direction), count in sorted(v.unit.changes.begun.items())
        ],
        "cause",
        "direction",
    )
    yield _counter(
        f"{_OF}_scale_changes_ended",
        "Changes of scale that came to an end, since the controller began.",
        [
            ((v.name, outcome), count)
            for v in views
            for outcome, count in sorted(v.unit.changes.ended.items())
        ],
        "outcome",
    )
    yield _counter(
        f"{_OF}_hooks",
        "What came of hooks, since the controller began.",
        [
            ((v.name, *key), count)
            for v in views
            for key, count in sorted(v.unit.changes.hooks.results.items())
        ],
        "moment",
        "kind",
        "result",
    )
    yield _summary(
        f"{_OF}_hook_duration_seconds",
        "How long hooks took, all tries together.",
        [
            (
                (v.name, *key),
                sum(n for found, n in v.unit.changes.hooks.results.items() if found[:2] == key),
                seconds,
            )
            for v in views
            for key, seconds in sorted(v.unit.changes.hooks.seconds.items())
        ],
        "moment",
        "kind",
    )


def _ticks(views: Sequence[View]) -> Iterator[Metric]:
    yield _summary(
        f"{_OF}_tick_duration_seconds",
        "How long the controller took to look at it.",
        [((v.name,), v.ticks, v.tick_seconds) for v in views],
    )
    yield _gauge(
        f"{_OF}_tick_age_seconds",
        "Since it was looked at.",
        [((v.name,), v.tick_age_s) for v in views if v.tick_age_s is not None],
    )


Sample = tuple[tuple[str, ...], float]


def _gauge(name: str, help: str, samples: Sequence[Sample], *labels: str) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    found = GaugeMetricFamily(name, help, labels=_labels(name, labels))
    for values, value in samples:
        found.add_metric(values, value)
    return found


def _counter(name: str, help: str, samples: Sequence[Sample], *labels: str) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    found = CounterMetricFamily(name, help, labels=_labels(name, labels))
    for values, value in samples:
        found.add_metric(values, value)
    return found


def _summary(
    name: str, help: str, samples: Sequence[tuple[tuple[str, ...], int, float]], *labels: str
) -> Metric:
    from prometheus_client.core import SummaryMetricFamily

    found = SummaryMetricFamily(name, help, labels=_labels(name, labels))
    for values, count, seconds in samples:
        found.add_metric(values, count_value=count, sum_value=seconds)
    return found


def _labels(name: str, labels: Sequence[str]) -> list[str]:
    return ["deployment", *labels] if name.startswith(_OF) else list(labels)
