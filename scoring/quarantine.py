"""Inputs that kill the process they run in: which must run alone, and which not at all.

quarantine = Quarantine()
if not quarantine.is_empty:                       # an attribute: all that a healthy server pays
    mark = fingerprint(method, path, query, body)
    if quarantine.is_quarantined(mark): ...       # refuse it
    alone = quarantine.is_suspect(mark)           # or keep it out of batches
told = quarantine.died(mark, alone=alone)         # goes to the other processes (news.py),
quarantine.apply(told)                            # which do this with it

An input is a suspect once it was in a process that died, and innocent again once it has run and the
process lives. It is quarantined when that happened twice, the last time with nothing beside it.
Everything is forgotten ``forget_s`` after the last death, and beyond ``limit`` inputs the one whose
last death is the longest ago. Pure, but for the clock that is handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

import msgspec

DEATHS = 2
"""Deaths after which an input is refused."""


PIECES, PIECE_BYTES = 64, 256


def fingerprint(*parts: bytes) -> bytes:
    """16 bytes that stand for the parts, in order and with their bounds (about 1 us and 1 ms/MB)"""
    digest = blake2b(digest_size=16)
    if len(parts) > 1:
        digest.update(b"".join(len(part).to_bytes(8, "little") for part in parts))
    for part in parts:
        digest.update(part)
    return digest.digest()


def essence(body: bytes) -> bytes:
    """What stands for a body where copying all of a long one would take time: itself, or its length
    and PIECES pieces from all over it. Two inputs with one essence share their fate."""
    size = len(body)
    if size <= PIECES * PIECE_BYTES:
        return body
    step = size // PIECES
    pieces = [body[at : at + PIECE_BYTES] for at in range(0, size - PIECE_BYTES, step)]
    return b"".join((size.to_bytes(8, "little"), *pieces, body[-PIECE_BYTES:]))


class Died(msgspec.Struct, frozen=True, tag=True):
    """A process died while it had this input, and if ``alone`` nothing else."""

    mark: bytes
    alone: bool


class Survived(msgspec.Struct, frozen=True, tag=True):
    """A suspect was answered."""

    mark: bytes


class _Record:
    """The deaths of one input."""

    __slots__ = ("deaths", "last_alone", "last_at")

    def __init__(self) -> None:
        self.deaths = 0
        self.last_alone = False
        self.last_at = 0.0

    @property
    def is_quarantined(self) -> bool:
        return self.deaths >= DEATHS and self.last_alone


class Quarantine:
    """What is known of deadly inputs, by fingerprint."""

    def __init__(
        self,
        *,
        limit: int = 1000,
        forget_s: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._forget_s = forget_s
        self._clock = clock
        self._records: dict[bytes, _Record] = {}  # by last death, the longest ago first
        self.is_empty = True
        """Nothing is suspect or quarantined: no fingerprint is worth computing."""

    def __repr__(self) -> str:
        return f"<Quarantine {len(self)} known, {self.quarantined} quarantined>"

    def __len__(self) -> int:
        self._forget()
        return len(self._records)

    @property
    def quarantined(self) -> int:
        """How many inputs are refused now."""
        self._forget()
        return sum(record.is_quarantined for record in self._records.values())

    def is_suspect(self, mark: bytes) -> bool:
        """Whether the input must run alone, if at all."""
        self._forget()
        return mark in self._records

    def is_quarantined(self, mark: bytes) -> bool:
        """Whether the input must not run."""
        self._forget()
        record = self._records.get(mark)
        return record is not None and record.is_quarantined

    def died(self, mark: bytes, *, alone: bool) -> Died:
        """A process died with it; to be called once for each death. Returns the message."""
        self._forget()
        record = self._records.pop(mark, None) or _Record()
        record.deaths += 1
        record.last_alone = alone
        record.last_at = self._clock()
        self._records[mark] = record
        if len(self._records) > self._limit:
            del self._records[next(iter(self._records))]
        self.is_empty = not self._records
        return Died(mark, alone)

    def survived(self, mark: bytes) -> Survived | None:
        """It was answered. Returns the message if that cleared a suspect; what is quarantined stays
        so (a run that had begun before says little against two deaths)."""
        self._forget()
        record = self._records.get(mark)
        if record is None or record.is_quarantined:
            return None
        del self._records[mark]
        self.is_empty = not self._records
        return Survived(mark)

    def apply(self, message: Died | Survived) -> None:
        """What another process has seen. Not for what was told to this object itself."""
        if isinstance(message, Died):
            self.died(message.mark, alone=message.alone)
        else:
            self.survived(message.mark)

    def _forget(self) -> None:
        limit = self._clock() - self._forget_s
        while self._records:
            mark = next(iter(self._records))
            if self._records[mark].last_at > limit:
                break
            del self._records[mark]
        self.is_empty = not self._records
