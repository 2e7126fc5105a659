"""What an application posts, checked and made into records. Pure.

    {"kind": "reading", "body": {"t": 71.3}}            one record
    [{...}, {...}]                                      several
    {...}\\n{...}                                        one a line (application/x-ndjson)

Beside ``kind`` and ``body``: ``priority`` 0 (first) to 3, by default 1; ``ttl_s``: the record is
worthless after so many seconds.
"""

from __future__ import annotations

import re

import msgspec

from edge.outbox.record import MAX_BODY_BYTES, STREAMS, NewRecord, check_body

MAX_RECORDS = 1000
DEFAULT_PRIORITY = 1
_KIND = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Refused(Exception):
    """One line for the application."""


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of what was posted."""

    kind: str
    body: msgspec.Raw = msgspec.Raw(b"null")
    priority: int = DEFAULT_PRIORITY
    ttl_s: float | None = None


def read(data: bytes, content_type: str, module: str) -> list[NewRecord]:
    """Raises Refused, saying what is wrong."""
    try:
        data.decode()  # the hub refuses what is no UTF-8
    except UnicodeDecodeError as error:
        raise Refused("the body is no UTF-8 text") from error
    try:
        items = _items(data, content_type)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Refused(f"the body is not what is expected: {error}") from error
    if not items:
        raise Refused("the body has no record")
    if len(items) > MAX_RECORDS:
        raise Refused(f"the body has {len(items)} records; at most {MAX_RECORDS} at once")
    return [_record(item, module) for item in items]


def _items(data: bytes, content_type: str) -> list[Item]:
    if "ndjson" in content_type:
        return [msgspec.json.decode(line, type=Item) for line in data.splitlines() if line.strip()]
    if data.lstrip()[:1] == b"[":
        return msgspec.json.decode(data, type=list[Item])
    return [msgspec.json.decode(data, type=Item)]


def _record(item: Item, module: str) -> NewRecord:
    if not _KIND.fullmatch(item.kind):
        raise Refused(f"kind {ascii(item.kind)[:70]}: use 1 to 64 letters, digits and . _ : -")
    if not 0 <= item.priority < STREAMS:
        raise Refused(f"priority {item.priority}: use 0 to {STREAMS - 1}")
    if item.ttl_s is not None and not 0 < item.ttl_s <= 366 * 86_400:
        raise Refused("ttl_s: seconds, more than 0 and at most a year")
    # Raw is not looked into by the decoder: numbers that JSON does not have, lone surrogates.
    body = bytes(item.body)
    try:
        check_body(body)
    except ValueError as error:
        raise Refused(f"body: {error}") from error
    if len(body) > MAX_BODY_BYTES:
        raise Refused(f"a body of {len(body)} bytes; at most {MAX_BODY_BYTES}")
    return NewRecord(item.priority, module, item.kind, body, item.ttl_s)
