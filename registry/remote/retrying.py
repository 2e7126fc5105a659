"""When a request is tried again, and after how long. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from registry.errors import RemoteError

ATTEMPTS = 5
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 60.0
"""A registry that asks for more is left alone: the user hears when to come back."""
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransientError(RemoteError):
    """It may go better next time, not before ``asked_s`` if the registry said so."""

    def __init__(
        self, message: str, *, status: int | None = None, asked_s: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.asked_s = asked_s


def wait_s(attempt: int, asked_s: float | None) -> float | None:
    """Before the attempt after number ``attempt`` (from 1); None: give up."""
    if attempt >= ATTEMPTS or (asked_s is not None and asked_s > MAX_WAIT_S):
        return None
    own: float = FIRST_WAIT_S * 2 ** (attempt - 1)
    return max(own, asked_s or 0.0)


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """What a Retry-After header asks for; None for none, or one that cannot be read."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
