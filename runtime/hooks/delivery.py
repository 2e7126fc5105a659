"""Which answers of a webhook are tried again, and when. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TRIES = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 120.0
"""Who asks to be left alone for longer is not asked again."""
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
"""Statuses of what may be well a moment later."""


def wait_s(
    tries: int, status: int | None, retry_after_s: float | None, left_s: float
) -> float | None:
    """Seconds until the next try after ``tries`` of them; None: no more. ``status``: None where no
    answer came; ``left_s``: what there is in all."""
    if tries >= TRIES or (status is not None and status not in PASSING):
        return None
    wait = max(FIRST_WAIT_S * 2 ** (tries - 1), retry_after_s or 0.0)
    return wait if wait <= LONGEST_WAIT_S and wait < left_s else None


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """Of the header, in seconds or as a date; None where it says nothing that can be meant."""
    if text is None or len(text) > 64:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else None
    try:
        then = parsedate_to_datetime(text)
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)
        seconds = (then - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
