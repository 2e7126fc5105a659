"""The metrics' names: what each means, its labels and buckets, and how processes merge into one.

Counters and histograms of all processes add up, those of dead ones included; a gauge is of living
processes, which is why it says how theirs become one number. ``model`` and ``version`` come from
one key, "name" or "name:version" (``model_labels``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

SECONDS = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds in seconds, from a tiny model's decoding to the slowest script."""
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0)
"""Upper bounds in rows or requests; powers of two (see ``Ledger.ran``)."""
DIFFERENCES = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0)
RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0)

Reason = Literal[
    "full", "deadline", "expired", "draining", "bad-input", "quarantined", "abandoned",
    "unavailable",
]  # fmt: skip
"""Why a request was not run: no room in the queue; a deadline that could not be met; one that
passed while it waited; the server stops; values that do not fit; an input that kills its process;
a client that left; no engine alive."""
Failure = Literal["error", "died", "timeout"]
"""How the engine failed on a good input: it said so, its process ended, it did not answer."""
Restart = Literal["worker", "process"]
GaugeName = Literal[
    "inferry_waiting", "inferry_running", "inferry_in_flight", "inferry_expected_drain_seconds",
    "inferry_ready", "inferry_batch_cost_a_seconds", "inferry_batch_cost_b_seconds",
    "inferry_batch_limit_rows", "inferry_batching", "inferry_connections", "inferry_quarantined",
    "inferry_processes",
]  # fmt: skip


class Merge(Enum):
    """How the values of several living processes become one."""

    SUM = "sum"
    MAX = "max"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``survives``: a gauge that outlives its process; ``is_shown``: on /metrics."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merge: Merge = Merge.SUM
    survives: bool = False
    is_shown: bool = True


MODEL = ("model", "version")


def model_labels(key: str) -> tuple[str, str]:
    """("digits", "3") of "digits:3"; the version is "" where the key has none."""
    name, _, version = key.partition(":")
    return name, version


def _counter(name: str, text: str, *labels: str, is_shown: bool = True) -> Family:
    return Family(name, "counter", text, labels, is_shown=is_shown)


def _histogram(name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> Family:
    return Family(name, "histogram", text, labels, bounds)


def _gauge(name: str, text: str, merge: Merge, labels: tuple[str, ...] = MODEL) -> Family:
    return Family(name, "gauge", text, labels, merge=merge)


_ALL = (
    _counter("inferry_requests_total", "Answers by route and status", "route", "code"),
    _histogram(
        "inferry_request_seconds",
        "Seconds from the request's first byte to its answer",
        ("route",),
        SECONDS,
    ),
    _counter("inferry_answered_total", "Requests that a model answered", *MODEL),
    _counter("inferry_rejected_total", "Requests that were not run", *MODEL, "reason"),
    _counter("inferry_failed_total", "Requests that the engine failed on", *MODEL, "kind"),
    _histogram("inferry_decode_seconds", "Seconds from body to inputs", MODEL, SECONDS),
    _histogram("inferry_queue_seconds", "Seconds that a request waited", MODEL, SECONDS),
    _histogram("inferry_compute_seconds", "Seconds that a batch ran", MODEL, SECONDS),
    _histogram("inferry_encode_seconds", "Seconds from outputs to body", MODEL, SECONDS),
    _histogram("inferry_batch_rows", "Rows of a batch", MODEL, SIZES),
    _histogram("inferry_batch_requests", "Requests of a batch", MODEL, SIZES),
    _gauge("inferry_waiting", "Requests in the queue", Merge.SUM),
    _gauge("inferry_running", "Requests in the engine", Merge.SUM),
    _gauge("inferry_in_flight", "Requests not yet answered (autoscale on this)", Merge.SUM),
    _gauge(
        "inferry_expected_drain_seconds",
        "Seconds until all requests are answered (what Retry-After says)",
        Merge.MAX,
    ),
    _gauge("inferry_ready", "1 when an engine can answer", Merge.MAX),
    _gauge("inferry_batch_cost_a_seconds", "Fitted seconds for each row", Merge.MEAN),
    _gauge("inferry_batch_cost_b_seconds", "Fitted seconds for each batch", Merge.MEAN),
    _gauge("inferry_batch_limit_rows", "Rows that a batch may have now", Merge.MAX),
    _gauge(
        "inferry_batching",
        "1 when requests are merged into batches; the reason says why or why not",
        Merge.MAX,
        (*MODEL, "reason"),
    ),
    Family(
        "inferry_last_answer_timestamp_seconds",
        "gauge",
        "Unix time of the last answered batch",
        MODEL,
        merge=Merge.MAX,
        survives=True,
    ),
    _gauge("inferry_connections", "Open connections", Merge.SUM, ()),
    _gauge("inferry_quarantined", "Inputs that are refused for killing processes", Merge.MAX, ()),
    _gauge("inferry_processes", "Server processes", Merge.SUM, ()),
    _counter("inferry_restarts_total", "Processes that had to be replaced", "kind"),
    _counter("inferry_shadowed_total", "Requests mirrored to the shadow", *MODEL, "verdict"),
    _counter(
        "inferry_shadow_disagreeing_rows_total",
        "Rows whose largest output is another one in the shadow",
        *MODEL,
    ),
    _histogram(
        "inferry_shadow_difference", "Largest absolute difference to the shadow", MODEL, DIFFERENCES
    ),
    _histogram(
        "inferry_shadow_duration_ratio",
        "Time of the shadow divided by the primary's",
        MODEL,
        RATIOS,
    ),
    _counter("inferry_captured_total", "Requests written to the capture file", "outcome"),
    _gauge(
        "inferry_metrics_unreadable", "Processes whose metrics could not be read", Merge.SUM, ()
    ),
    # What only triton.py and statistics.py need.
    _counter("inferry_batches_total", "Batches by size", *MODEL, "rows", is_shown=False),
    _counter("inferry_batches_seconds_total", "Their time", *MODEL, "rows", is_shown=False),
    _counter(
        "inferry_answered_compute_seconds_total",
        "Time of its batch, summed over the answered requests",
        *MODEL,
        is_shown=False,
    ),
    _counter("inferry_not_answered_seconds_total", "Until the error", *MODEL, is_shown=False),
)
FAMILIES = {family.name: family for family in _ALL}
