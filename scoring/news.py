"""What server processes tell each other of inputs that kill: one payload of the supervisor's Tell.

The supervisor relays to everybody, the sender too, who must not count its own news twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scoring.quarantine import Died, Quarantine, Survived, fingerprint


class News(msgspec.Struct, frozen=True, array_like=True):
    """``sender`` is a process id; 0 is the supervisor."""

    sender: int
    items: list[Died | Survived]


_decoder = msgspec.msgpack.Decoder(News)


def pack(sender: int, items: Sequence[Died | Survived]) -> bytes:
    """The payload."""
    return msgspec.msgpack.encode(News(sender, list(items)))


def take(payload: bytes, reader: int, quarantine: Quarantine) -> None:
    """Put what others have told into ``quarantine``; what is no news is passed over."""
    try:
        news = _decoder.decode(payload)
    except msgspec.MsgspecError:
        return
    if news.sender != reader:
        for item in news.items:
            quarantine.apply(item)


def judge(bodies: Sequence[bytes], was_alone: bool, quarantine: Quarantine) -> bytes | None:
    """A process has died while it ran ``bodies``: remember them, and what to tell the others."""
    if not bodies:
        return None
    return pack(0, [quarantine.died(fingerprint(body), alone=was_alone) for body in bodies[:1000]])
