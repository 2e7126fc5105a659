"""What this driver downloaded last, as a note that lies on the board: so a design that is loaded
is known before one of its addresses is read.

Reading the engine's address while another design is loaded kills the process on a real board
(SIGBUS), or hangs it. So the download is skipped only where the note, the kernel's boot, the FPGA
manager and pynq's own records agree; else it is done again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

PATH = "/run/inferry-fpga.json"
MOST_BYTES = 4096


@dataclass(frozen=True)
class Note:
    """``name``: of the content; ``boot``: the kernel's boot id; ``records``: a digest of what pynq
    says is loaded, as it was after the download."""

    name: str
    boot: str
    records: str


@dataclass(frozen=True)
class Seen:
    """What a board says now. ``boot``, ``firmware``, ``records``: None where it cannot be known.

    ``state``: of the FPGA manager; ``firmware``: the file it took last. Many kernels do not let
    that be read; then pynq's records must be there, and unchanged.
    """

    boot: str | None
    state: str | None
    firmware: str | None
    records: str | None


def encode(note: Note) -> bytes:
    return json.dumps(vars(note)).encode()


def decode(data: bytes) -> Note | None:
    """None for what is no note."""
    if not 0 < len(data) <= MOST_BYTES:
        return None
    try:
        found = json.loads(data)
        parts = [found[key] for key in ("name", "boot", "records")]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return Note(*parts) if all(isinstance(each, str) for each in parts) else None


def loaded(note: Note | None, seen: Seen) -> str | None:
    """The name of the content that is loaded for certain, else None."""
    if note is None or not seen.boot or note.boot != seen.boot or seen.state != "operating":
        return None
    if seen.firmware is not None:
        return note.name if seen.firmware == note.name + ".bin" else None
    return note.name if seen.records is not None and seen.records == note.records else None
