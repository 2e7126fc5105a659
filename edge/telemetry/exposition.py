"""The Prometheus text that scoring servers answer to GET /metrics, to the few numbers that are
worth their bytes on a bad link. Pure.

(https://prometheus.io/docs/instrumenting/exposition_formats/) A counter is sent as what it grew by,
a gauge as it is; of histograms only sum and count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

MAX_LINES = 20_000
MAX_SERIES = 256
MAX_SERIES_LENGTH = 200
_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? +(\S+)(?: +-?\d+)?$")
_SKIPPED = ("_bucket", "_created")


def parse(text: str) -> tuple[dict[str, float], frozenset[str]]:
    """(value by series like ``name{a="b"}``, the series that are counters). Lines that are none
    are passed over, and so is what goes beyond the bounds."""
    found: dict[str, float] = {}
    counters: set[str] = set()
    types: dict[str, str] = {}
    for line in text.split("\n", MAX_LINES)[:MAX_LINES]:
        if line.startswith("# TYPE "):
            words = line.split()
            if len(words) == 4:
                types[words[2]] = words[3]
            continue
        match = None if line.startswith("#") else _LINE.match(line.rstrip())
        if match is None or match[1].endswith(_SKIPPED):
            continue
        value = _number(match[3])
        series = match[1] + (match[2] or "")
        if value is None or len(found) >= MAX_SERIES or len(series) > MAX_SERIES_LENGTH:
            continue
        found[series] = value
        if _is_counter(match[1], types):
            counters.add(series)
    return found, frozenset(counters)


def changes(
    now: Mapping[str, float], counters: frozenset[str], before: Mapping[str, float] | None
) -> dict[str, float]:
    """What to send: gauges that are not as before, and counters that grew, by how much. A counter
    that is smaller than before began anew. ``before`` None: nobody has looked since this process
    began, and what the counters say may have been sent by the one before; so they are not sent."""
    if before is None:
        return {series: value for series, value in now.items() if series not in counters}
    found = {}
    for series, value in now.items():
        old = before.get(series)
        if series in counters:
            grown = value if old is None or value < old else value - old
            if grown:
                found[series] = grown
        elif value != old:
            found[series] = value
    return found


def _is_counter(name: str, types: Mapping[str, str]) -> bool:
    for base in (name, name.removesuffix("_total")):
        if types.get(base) == "counter":
            return True
    for ending in ("_sum", "_count"):
        base = name.removesuffix(ending)
        if base != name and types.get(base) in ("histogram", "summary"):
            return True
    return False


def _number(text: str) -> float | None:
    """None for what JSON has no number for."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
