"""A long answer in parts that any broker takes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from edge.messages.codec import VERSION, encode
from edge.messages.commands import Reply

MAX_PART_BYTES = 120 * 1024
"""Encoded. Brokers, and what is between, take 128 KiB."""


def parts(reply: Reply) -> list[Reply]:
    """The same answer, each part small enough once encoded; numbered, and the last says how many
    there are."""
    texts = list(_pieces(reply.text)) or [""]
    if len(texts) == 1 and len(encode(reply)) <= MAX_PART_BYTES:
        return [msgspec.structs.replace(reply, part=0, parts=1)]
    last = len(texts) - 1
    return [
        Reply(
            v=VERSION,
            id=reply.id,
            ok=reply.ok,
            text=text,
            error=reply.error if number == last else None,
            part=number,
            parts=len(texts) if number == last else None,
        )
        for number, text in enumerate(texts)
    ]


def _pieces(text: str) -> Iterator[str]:
    """Cut where it becomes too long: by what it takes as JSON, where one character may be six."""
    room = MAX_PART_BYTES - 1024
    begin = 0
    while begin < len(text):
        end = min(len(text), begin + room)
        while len(msgspec.json.encode(text[begin:end])) > room:
            end = begin + max(1, (end - begin) * 2 // 3)
        yield text[begin:end]
        begin = end
