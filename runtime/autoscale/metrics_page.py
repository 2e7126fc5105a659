"""A replica's GET /metrics page, to its load. Pure: whoever asked for the page hands its text over.

    load = load_of(page)      None: the page does not say, which is not zero

prometheus_client reads the lines (https://prometheus.io/docs/instrumenting/exposition_formats/);
only those of a few families are shown to it, which makes a page cost a tenth of a millisecond for
each of a few models, and lets a strange line of another family do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.autoscale.sample import Load

LARGEST_PAGE = 8 * 1024 * 1024
LONGEST_LINE = 4096
MOST_LINES = 10_000
"""Of the families that count. More models than these are in no server."""

IN_FLIGHT = "inferry_in_flight"
DRAIN = "inferry_expected_drain_seconds"
ANSWERED = "inferry_answered_total"
REJECTED = "inferry_rejected_total"
FAILED = "inferry_failed_total"
UNREADABLE = "inferry_metrics_unreadable"
FAMILIES = frozenset((IN_FLIGHT, DRAIN, ANSWERED, REJECTED, FAILED, UNREADABLE))
MISSED_REASONS = frozenset(("full", "deadline", "expired", "unavailable"))
"""Reasons of a refusal that more replicas would have helped against."""


def load_of(page: str | bytes) -> Load | None:
    """What a scoring server says of itself, all its models together. None where the page is none,
    is cut off, has a number that no server has, or lacks the processes that could not be read."""
    text = _text(page)
    if text is None:
        return None
    try:
        return _load(text)
    except (ValueError, OverflowError, IndexError, KeyError):
        return None


def _text(page: str | bytes) -> str | None:
    """The format's last line ends with a line feed: a page without one was cut off."""
    if len(page) > LARGEST_PAGE:
        return None
    if isinstance(page, bytes):
        try:
            page = page.decode()
        except UnicodeDecodeError:
            return None
    return page if page.endswith("\n") else None


def _load(text: str) -> Load | None:
    in_flight: list[float] = []
    drain_s: list[float] = []
    answered = missed = ended = 0.0
    for name, labels, value in _samples(text):
        if not value >= 0.0:
            return None
        if name == IN_FLIGHT:
            in_flight.append(value)
        elif name == DRAIN:
            drain_s.append(value)
        elif name == UNREADABLE and value > 0:
            return None  # some of its processes are not in these sums
        elif name in (ANSWERED, REJECTED, FAILED):
            ended += value
            answered += value if name == ANSWERED else 0.0
            if name == REJECTED and labels.get("reason") in MISSED_REASONS:
                missed += value
    if not in_flight:
        return None
    load = Load(sum(in_flight), max(drain_s, default=0.0), ended, answered, missed)
    return load if load.is_sane else None


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Raises ValueError or OverflowError for lines that are none."""
    # Imported here: it is an extra, and its HTTP server costs 20 to 90 ms.
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in text.split("\n") if _counts(line)]
    if len(lines) > MOST_LINES or any(len(line) > LONGEST_LINE for line in lines):
        raise ValueError("too many lines or too long ones")
    for line in lines:
        for family in text_string_to_metric_families(line + "\n"):
            for sample in family.samples:
                yield sample.name, sample.labels, float(sample.value)


def _counts(line: str) -> bool:
    if not line.startswith("inferry_"):
        return False
    name, bracket, _ = line.partition("{")
    return (name.rstrip() if bracket else line.split(None, 1)[0]) in FAMILIES
