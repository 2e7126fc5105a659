"""What to store of a batch of telemetry: pure, so that every order of loss, repetition and restart
can be tried. The rules are those of edge/messages/telemetry.py.

    batch = read(payload)                      # refuses what is malformed
    decision = decide(high_water, batch)       # of its stream; 0 for a new one
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from edge.errors import InvalidMessageError
from edge.messages import codec
from edge.messages.telemetry import Batch, Gap

MAX_NUMBER = 2**63 - 1
MAX_STREAM = 255
MAX_GAPS = 10_000
MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
"""On the wire."""
_LIFE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RefusedError(InvalidMessageError):
    """A message of a device that is not taken. ``reason``: a word or two, to count by."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Decision:
    """``first`` and ``last``: the numbers to store of the batch's records (None: none of them);
    ``gaps``: to store, clipped to what is new; ``high``: up to where the stream is then complete,
    which is also what to acknowledge. ``is_hole``: it came too early; ``repeated``: how many of
    its records were there already."""

    first: int | None
    last: int | None
    gaps: tuple[Gap, ...]
    high: int
    is_hole: bool = False
    repeated: int = 0


def read(payload: bytes) -> Batch:
    """Raises RefusedError for anything that is not a whole, valid batch."""
    return parse(inflate(payload))


def inflate(payload: bytes) -> bytes:
    """Its text. Raises RefusedError."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RefusedError("too large", f"a batch of {len(payload)} bytes is too large")
    try:
        return codec.inflate(payload)
    except InvalidMessageError as error:
        raise RefusedError("malformed", str(error)) from error


def parse(plain: bytes) -> Batch:
    """Of its text. Raises RefusedError."""
    try:
        if not plain.isascii():
            plain.decode("utf-8")  # bodies are not looked at otherwise, and are shown some day
        batch = codec.decode(plain, Batch, codec.MAX_PLAIN_BYTES)
    except InvalidMessageError as error:
        raise RefusedError("malformed", str(error)) from error
    except UnicodeDecodeError as error:
        raise RefusedError("malformed", f"no Batch: {error}") from error
    _check(batch)
    return batch


def _check(batch: Batch) -> None:
    if not _LIFE.fullmatch(batch.life):
        raise RefusedError("life", "a batch's life must be 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'")
    if not 0 <= batch.stream <= MAX_STREAM:
        raise RefusedError("numbers", f"a batch's stream must be 0 to {MAX_STREAM}")
    if not (1 <= batch.base <= MAX_NUMBER and 1 <= batch.first <= batch.last <= MAX_NUMBER):
        raise RefusedError("numbers", "a batch's numbers must be 1 or more, the first not the last")
    if len(batch.gaps) > MAX_GAPS or not _is_complete(batch):
        raise RefusedError(
            "numbers", "a batch must have each of its numbers once, in order, as a record or a gap"
        )


def _is_complete(batch: Batch) -> bool:
    expected, count = batch.first, batch.last - batch.first + 1
    if not batch.gaps:
        return len(batch.records) == count and all(
            record.seq == number for number, record in enumerate(batch.records, expected)
        )
    spans = [(record.seq, record.seq) for record in batch.records]
    if any(left >= right for (left, _), (right, _) in pairwise(spans)):
        return False
    for first, last in sorted([*spans, *((gap.first, gap.last) for gap in batch.gaps)]):
        if first != expected or last < first:
            return False
        expected = last + 1
    return expected == batch.last + 1


def decide(high: int, batch: Batch) -> Decision:
    """``high``: up to where the hub has the stream. Never lowers it."""
    lost: tuple[Gap, ...] = ()
    known = high
    if batch.first > high + 1 and batch.base > high + 1:
        # What is below base was acknowledged once, by a hub that has it no more.
        known = min(batch.base, batch.first) - 1
        lost = (Gap(high + 1, known, "hub lost"),)
    if batch.first > known + 1:
        return Decision(None, None, lost, known, is_hole=True)
    if batch.last <= known:
        return Decision(None, None, lost, known, repeated=len(batch.records))
    gaps = [
        Gap(max(gap.first, known + 1), gap.last, gap.reason)
        for gap in batch.gaps
        if gap.last > known
    ]
    new = [record.seq for record in batch.records if record.seq > known]
    return Decision(
        new[0] if new else None,
        new[-1] if new else None,
        (*lost, *gaps),
        batch.last,
        repeated=len(batch.records) - len(new),
    )
