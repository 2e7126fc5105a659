"""Splits what one run() returned for the rows of several requests."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

_RELATIVE, _ABSOLUTE = 1e-5, 1e-6
"""How much a number may differ when it was computed in another batch: the noise of float32."""
_STYLES: list[dict[str, Any]] = [
    {"separators": separators, "ensure_ascii": ascii_only}
    for separators in ((", ", ": "), (",", ":"))  # json.dumps; pandas' to_json
    for ascii_only in (True, False)
]


class NotRowsError(Exception):
    """The value does not have one entry for each row."""


def split(value: Any, counts: Sequence[int]) -> list[Any]:
    """One part for each request, which had so many rows: of a list, of each list in an object of
    lists, or of either as JSON text. Raises NotRowsError."""
    if isinstance(value, list | tuple):
        return _split_list(value, counts)
    if isinstance(value, dict) and value:
        columns = {name: _split_list(column, counts) for name, column in value.items()}
        return [
            {name: parts[index] for name, parts in columns.items()} for index in range(len(counts))
        ]
    if isinstance(value, str):
        return _split_text(value, counts)
    raise NotRowsError(f"it returns {_article(type(value).__name__)}, not a list with a row each")


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, numbers within a small tolerance."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


def _split_list(value: Any, counts: Sequence[int]) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise NotRowsError(
            f"a part of what it returns is {_article(type(value).__name__)}, not a list"
        )
    if len(value) != sum(counts):
        raise NotRowsError(f"it returns {len(value)} entries for {sum(counts)} row(s)")
    parts, at = [], 0
    for count in counts:
        parts.append(value[at : at + count])
        at += count
    return parts


def _split_text(text: str, counts: Sequence[int]) -> list[Any]:
    try:
        value = json.loads(text)
        style = next(style for style in _STYLES if json.dumps(value, **style) == text)
    except (ValueError, RecursionError, StopIteration):
        raise NotRowsError("it returns text that is not plain JSON") from None
    if isinstance(value, str):
        raise NotRowsError("it returns text in text")
    return [json.dumps(part, **style) for part in split(value, counts)]


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"
