"""Whether this machine's clock may judge the dates of certificates. Pure.

A device without a battery wakes up in 1970, or where its clock stood; were it to check dates by
that, it could not reach the hub that would tell it the time. What it knows: its own certificate was
issued in the past, and ends in the future. A clock that says otherwise is wrong, or of no use, as
the broker judges our certificate by its own. The hub's time, once heard since the boot, says more.
Name and authority of the broker are checked in any case.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

AGREES_S = 300.0
_TIME = rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)"
_VALIDITY = re.compile(rb"\x30." + _TIME + _TIME, re.DOTALL)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def validity(pem: bytes) -> tuple[float, float] | None:
    """Begin and end of the first certificate, seconds since 1970; None when they are not found. The
    two times stand side by side in it (RFC 5280, 4.1.2.5), so that no X.509 library is loaded."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        match = _VALIDITY.search(base64.b64decode(found[1]))
        if match is None:
            return None
        return _seconds(match[1], match[2]), _seconds(match[3], match[4])
    except ValueError:
        return None


def is_clock_right(now_s: float, own: tuple[float, float] | None, hub_now_s: float | None) -> bool:
    """``own``: validity of this device's certificate; ``hub_now_s``: the hub's time, if it was
    heard since the boot."""
    if hub_now_s is not None:
        return abs(now_s - hub_now_s) <= AGREES_S
    return own is None or own[0] <= now_s <= own[1]


def _seconds(short: bytes | None, long: bytes | None) -> float:
    """UTCTime (two digits of the year, up to 2049) or GeneralizedTime."""
    text = long if long is not None else (b"19" if short[:2] >= b"50" else b"20") + short  # type: ignore[index,operator]
    return datetime.strptime(text.decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
