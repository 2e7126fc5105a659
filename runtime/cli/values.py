"""Reads the ``key=value`` options of the command line."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.errors import BadValueError


def pairs(texts: Iterable[str], what: str) -> dict[str, str]:
    """``["a=1", "b"]`` as ``{"a": "1", "b": ""}``: a tag may be just a word.

    Raises BadValueError for an empty key and for a key given twice with different values."""
    found: dict[str, str] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise BadValueError(f"{what} '{text}' has no key; say key=value")
        if found.get(key, value) != value:
            raise BadValueError(f"{what} '{key}' is given twice: '{found[key]}' and '{value}'")
        found[key] = value
    return found
