"""What no answer may say, whoever asks what."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

_WORDS = re.compile(
    r"Traceback \(most|File \"|\.py\b|sqlite|SELECT |INSERT INTO|UPDATE \w+ SET|DELETE FROM"
    r"|/usr/|/root/|/home/|site-packages"
)
_CODE = str(Path(__file__).parents[3])


def leak_of(text: str, hidden: Iterable[str]) -> str | None:
    """The first thing in ``text`` that a client must not read: of the machine, of our code, or one
    of ``hidden``."""
    for word in (*hidden, _CODE, sys.prefix):
        if word and word in text:
            return word
    found = _WORDS.search(text)
    return None if found is None else found[0]
