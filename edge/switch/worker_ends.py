"""How often a scoring server had to replace one of its processes: what ends inside a container, out
of memory for one, is no end of the container.
"""

from __future__ import annotations

from edge.telemetry.exposition import parse
from edge.telemetry.scraping import Target, fetch

NAME = "inferry_restarts_total"
TIMEOUT_S = 2.0


def worker_ends(address: str, port: int) -> float | None:
    """Since its start; None when it does not say."""
    text = fetch(Target("", address, port), TIMEOUT_S)
    if text is None:
        return None
    found = [value for series, value in parse(text)[0].items() if series.partition("{")[0] == NAME]
    return sum(found) if found else None
