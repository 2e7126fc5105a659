"""The outline of a large JSON body, found without parsing it: its members, the shape of even lists.

    members = find_members(body)                     # None: read it otherwise
    sizes = even_sizes(outline(body, start, stop))
    for piece in pieces(body, start, stop, 65536): ...

The outline of ``[[1, 2], [3, 4]]`` is ``[[,],[,]]``: its brackets, commas, braces and colons. It
proves how lists nest, provided that every piece is then parsed as JSON, holds no text with such
marks in it, and that the values are as many as the sizes say (``[]`` and ``[1]`` look alike).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

BLANK = b" \t\n\r"
MAX_DEPTH = 32
"""Lists nested deeper are no tensor."""
_MAX_COLONS = 1000
_TAIL = 256
_LONGEST_VALUE = 64 * 1024
_MARKS = b"[],{}:"
_REST = bytes(byte for byte in range(256) if byte not in _MARKS)
_QUOTE = ord('"')


@dataclass(frozen=True, slots=True)
class Member:
    """``"name": VALUE`` in a body: VALUE is ``body[start:stop]``, with blanks around it.

    ``shape`` is where the text of ``{"shape": [...], "data": VALUE}``'s shape begins and stops."""

    name: bytes
    start: int
    stop: int
    shape: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Key:
    name: bytes
    start: int
    """Of its opening quote."""
    value: int
    """Where its value begins."""


@dataclass(frozen=True, slots=True)
class _Value:
    start: int
    stop: int
    closing: bytes
    """The braces and comma behind it."""


def find_members(body: bytes) -> list[Member] | None:
    """The members of the object ``body``, in order; None when this is not plain to see.

    Names are as written: compare them with bytes that need no escaping. The values are not looked
    at, so all of this holds only if each of them is valid JSON."""
    keys = _keys(body)
    if not keys or body[: keys[0].start].strip(BLANK) != b"{":
        return None
    values = [
        _value(body, key.value, after.start if after else len(body))
        for key, after in zip_longest(keys, keys[1:])
    ]
    members: list[Member] = []
    at = 0
    while at < len(keys):
        used = 3 if _opens_object(body, keys, at) else 1
        member = _member(keys[at : at + used], values[at : at + used], at + used == len(keys))
        if member is None:
            return None
        members.append(member)
        at += used
    return members


def outline(body: bytes, start: int, stop: int) -> bytes:
    """``body[start:stop]`` without all but brackets, commas, braces and colons."""
    return body[start:stop].translate(None, _REST)


def even_sizes(marks: bytes) -> tuple[int, ...] | None:
    """The shape of lists with this outline when all of one depth are equally long, else None.

    The last size is at least 1: it is 0 instead if the lists turn out to hold nothing."""
    depth = len(marks) - len(marks.lstrip(b"["))
    stop = marks.find(b"]")
    if not 0 < depth <= MAX_DEPTH or stop < depth:
        return None
    sizes = [stop - depth + 1]
    unit = b"[" + b"," * (sizes[0] - 1) + b"]"
    for level in range(2, depth + 1):
        stop = marks.find(b"]" * level)
        length = stop + level - (depth - level)
        count, rest = divmod(length - 1, len(unit) + 1)
        if stop < 0 or rest:
            return None
        unit = b"[" + (unit + b",") * (count - 1) + unit + b"]"
        sizes.append(count)
    return tuple(reversed(sizes)) if unit == marks else None


def pieces(body: bytes, start: int, stop: int, size_bytes: int) -> Iterator[bytes]:
    """The balanced lists ``body[start:stop]`` cut into lists of about ``size_bytes``.

    Cut at commas, with the brackets added that the cut takes away: all pieces together are valid
    JSON exactly when the whole is, but for a comma too many. Ends with an invalid piece, b"", where
    a value is too long for a number."""
    depth = 0
    while start < stop:
        end = body.find(b",", start + size_bytes, start + size_bytes + _LONGEST_VALUE)
        opening = b"[" * depth
        if not start < end < stop:
            short = stop - start <= size_bytes + _LONGEST_VALUE
            yield opening + body[start:stop] if short else b""
            return
        piece = body[start:end]
        depth = max(0, depth + piece.count(b"[") - piece.count(b"]"))
        yield opening + piece + b"]" * depth
        start = end + 1


def is_hollow(body: bytes, start: int, stop: int) -> bool:
    """Whether the first innermost list holds nothing."""
    end = body.find(b"]", start, stop)
    return body[body.rfind(b"[", start, end) + 1 : end].strip(BLANK) == b""


def size_of(sizes: tuple[int, ...]) -> int:
    """How many values a shape holds."""
    return math.prod(sizes)


def _keys(body: bytes) -> list[_Key] | None:
    keys: list[_Key] = []
    colon = body.find(b":")
    for _ in range(_MAX_COLONS):
        if colon < 0:
            return keys
        end = _last_but_blanks(body, colon)
        if end > 0 and body[end] == _QUOTE:  # else a colon in a name, such as "input:0"
            start = body.rfind(b'"', 0, end)
            if start < 0 or b"\\" in body[start:end]:
                return None
            keys.append(_Key(body[start + 1 : end], start, colon + 1))
        colon = body.find(b":", colon + 1)
    return None


def _last_but_blanks(body: bytes, end: int) -> int:
    start = max(0, end - _TAIL)
    return start + len(body[start:end].rstrip(BLANK)) - 1


def _value(body: bytes, start: int, end: int) -> _Value | None:
    """The value between a key and the next; None behind a long stretch of blanks."""
    tail = body[max(start, end - _TAIL) : end]
    kept = tail.rstrip(BLANK + b",}")
    if not kept:
        return None
    return _Value(start, end - len(tail) + len(kept), tail[len(kept) :].translate(None, BLANK))


def _opens_object(body: bytes, keys: list[_Key], at: int) -> bool:
    if at + 2 >= len(keys) or keys[at + 1].start - keys[at].value > _TAIL:
        return False
    return body[keys[at].value : keys[at + 1].start].strip(BLANK) == b"{"


def _member(keys: list[_Key], values: list[_Value | None], is_last: bool) -> Member | None:
    end = b"}" if is_last else b","
    last = values[-1]
    if last is None:
        return None
    if len(keys) == 1:
        return Member(keys[0].name, last.start, last.stop) if last.closing == end else None
    first = values[1]
    if first is None or first.closing != b"," or last.closing != b"}" + end:
        return None
    named = {keys[1].name: first, keys[2].name: last}
    if set(named) != {b"shape", b"data"}:
        return None
    data, shape = named[b"data"], named[b"shape"]
    return Member(keys[0].name, data.start, data.stop, (shape.start, shape.stop))
