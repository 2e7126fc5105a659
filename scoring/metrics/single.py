"""What a scoring server counts, in the Prometheus text format.

inferry_requests_total{route,code}     answers
inferry_request_seconds{route}         from the first header byte to the answer's first byte
inferry_waiting, inferry_running       requests in the queue, in the engine
inferry_expected_drain_seconds         time until all of them are answered (what Retry-After says)
inferry_ready                          1 when an engine can answer
inferry_worker_restarts          worker processes that had to be replaced
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from scoring import policy

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one server; nothing is global."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "inferry_requests",
            "Answers by route and status",
            ["route", "code"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "inferry_request_seconds",
            "Seconds until the answer",
            ["route"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )

    def watch(
        self,
        load: Callable[[], policy.Load],
        is_ready: Callable[[], bool],
        restarts: Callable[[], int],
    ) -> None:
        """Read these when /metrics is asked for."""
        self._gauge("inferry_waiting", "Requests in the queue", lambda: load().waiting)
        self._gauge("inferry_running", "Requests in the engine", lambda: load().running)
        self._gauge(
            "inferry_expected_drain_seconds",
            "Seconds until all requests are answered",
            lambda: policy.drain_s(load()),
        )
        self._gauge("inferry_ready", "1 when an engine can answer", lambda: float(is_ready()))
        self._gauge("inferry_worker_restarts", "Workers replaced", restarts)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> str:
        """All of it, in the Prometheus text format."""
        return generate_latest(self._registry).decode()

    def _gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(read)
