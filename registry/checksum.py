"""A checksum of what the database only remembers, such as which layer was built for which inputs:
SQLite has none, and one changed character there must not become part of an image."""

from __future__ import annotations

import hashlib
import json


def checksum(*parts: str | int) -> str:
    """Of the parts, in this order. It finds damage, not somebody who can write the database."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def sealed(text: str, *key: str) -> str:
    """``text`` with the checksum of it and of the key that it is kept under."""
    return f"{checksum(text, *key)} {text}"


def unsealed(text: str, *key: str) -> str | None:
    """What was sealed under this key; None when it is not what it was."""
    said, _, rest = text.partition(" ")
    return rest if said == checksum(rest, *key) else None
