"""Times, sizes and numbers for people. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from markupsafe import Markup

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
NOTHING = "\N{EN DASH}"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def when(at_ms: float | None) -> Markup:
    """A time since 1970 in milliseconds."""
    if at_ms is None:
        return Markup(NOTHING)
    try:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return Markup(NOTHING)
    return _time(at)


def time_of(text: str | None) -> Markup:
    """A time that is written as ISO 8601."""
    if not text:
        return Markup(NOTHING)
    try:
        return _time(datetime.fromisoformat(text).astimezone(UTC))
    except (ValueError, OverflowError):
        return Markup("{}").format(text)


def _time(at: datetime) -> Markup:
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        at.isoformat(timespec="milliseconds"),
        at.strftime("%Y-%m-%d %H:%M:%S"),
        at.strftime("%Y-%m-%d %H:%M"),
    )


def size(size_bytes: float | None) -> str:
    """``12.3 kB``; thousands."""
    if size_bytes is None:
        return NOTHING
    value = float(size_bytes)
    for unit in _UNITS:
        if abs(value) < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value = value / 1000
    raise AssertionError


def number(value: float | None, digits: int = 5) -> str:
    """At most ``digits`` digits that count; whole numbers as they are."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or (
        math.isfinite(value) and value == int(value) and abs(value) < 1e9
    ):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}"


def lasted(seconds: float | None) -> str:
    """``1 h 3 min``, ``12.3 s``, ``8 ms``."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    seconds = max(0.0, seconds)
    if seconds < 0.01:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def short(text: str, limit: int = 80) -> str:
    """``text``, or its beginning."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def shown(text: str) -> str:
    """``text`` with what nobody would see as its number: U+202E turns a line around."""
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
