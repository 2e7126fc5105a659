"""How messages name what someone wrote, and what they may have meant. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_SHOWN_CHARS = 60
MAX_NAMED = 12


def shown(text: object) -> str:
    """In quotes, on one line, not too long."""
    said = ascii(text)
    return said if len(said) <= MAX_SHOWN_CHARS else f"{said[: MAX_SHOWN_CHARS - 4]}...'"


def advice(word: str, known: Iterable[str], nothing: str) -> str:
    """The nearest known word, else the known ones."""
    names = list(known)
    near = difflib.get_close_matches(word[:200], names, 1, 0.5) if len(names) <= 2000 else []
    if near:
        return f"did you mean {shown(near[0])}?"
    more = ", ..." if len(names) > MAX_NAMED else ""
    return f"known: {', '.join(map(str, names[:MAX_NAMED]))}{more}" if names else nothing
