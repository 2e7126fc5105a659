"""What the server and the process that drives its board say to each other over one Unix socket.

A frame is ``<magic u32> <kind u8> <3 zero bytes> <number u32> <size u64> <body: raw bytes>``, all
little endian. Nothing is pickled, and both sides take the other for an enemy.

    server -> process   RUN       beats of INPUT payloads of whole samples, at most "max_batch"
    process -> server   READY     JSON; after opening, and after a recovery
                        REFUSED   JSON; it cannot open, or not recover, and ends
                        ANSWER    counters, then the output's beats
                        FAILED    JSON; of a run. READY or REFUSED follows unless "is_sound"

``number`` counts the runs, and comes back with what answers one. Standard library only.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from fpga import errors
from fpga.errors import BoardError, FpgaError

MAGIC = 0x59524649  # "IFRY"
HEADER = struct.Struct("<IB3xIQ")
RUN, READY, REFUSED, ANSWER, FAILED = 1, 2, 3, 4, 5
KINDS = (RUN, READY, REFUSED, ANSWER, FAILED)
COUNTS = struct.Struct("<5Q")
MOST_JSON_BYTES = 1 << 16
MOST_TEXT = 500
VERSION = 1


class FrameError(BoardError):
    """The other side sends what is no frame of this protocol."""


@dataclass(frozen=True)
class Frame:
    kind: int
    number: int
    body: bytearray


@dataclass(frozen=True)
class Counts:
    """Since the process began. ``packets``: that were sent for runs; ``samples``: in them."""

    samples: int = 0
    packets: int = 0
    loads: int = 0
    downloads: int = 0
    recoveries: int = 0

    def encode(self) -> bytes:
        return COUNTS.pack(self.samples, self.packets, self.loads, self.downloads, self.recoveries)


def send(sock: socket.socket, kind: int, number: int, *parts: Any) -> None:
    """Whole, whatever the socket's timeout is for a piece. Raises OSError."""
    views = [memoryview(part).cast("B") for part in parts]
    size = sum(view.nbytes for view in views)
    head = HEADER.pack(MAGIC, kind, number, size)
    if size <= 1 << 14:
        sock.sendall(b"".join([head, *views]))
        return
    sock.sendall(head)
    for view in views:
        sock.sendall(view)


def send_json(sock: socket.socket, kind: int, number: int, document: Any) -> None:
    send(sock, kind, number, json.dumps(document).encode())


def receive(sock: socket.socket, most_bytes: int, until: float | None = None) -> Frame | None:
    """The next frame; None at the end of all. ``until``: a second of time.monotonic(), at which
    TimeoutError is raised. Raises FrameError for nonsense, and for more than ``most_bytes``."""
    head = bytearray(HEADER.size)
    had = _fill(sock, head, until)
    if had == 0:
        return None
    if had < len(head):
        raise FrameError("a frame is cut short")
    magic, kind, number, size = HEADER.unpack(head)
    if magic != MAGIC or kind not in KINDS or any(head[5:8]):
        raise FrameError("what came is no frame")
    if size > (most_bytes if kind in (RUN, ANSWER) else MOST_JSON_BYTES):
        raise FrameError(f"a frame of {size} bytes")
    body = bytearray(size)
    if _fill(sock, body, until) < size:
        raise FrameError("a frame is cut short")
    return Frame(kind, number, body)


def _fill(sock: socket.socket, buffer: bytearray, until: float | None) -> int:
    """How many bytes came; fewer than fit at the end of all."""
    view, had = memoryview(buffer), 0
    while had < len(buffer):
        if until is not None:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("no answer in time")
            sock.settimeout(left_s)
        count = sock.recv_into(view[had:])
        if count == 0:
            break
        had += count
    return had


def document_of(frame: Frame) -> dict[str, Any]:
    """Its JSON object. Raises FrameError."""
    try:
        found = json.loads(bytes(frame.body))
    except (ValueError, RecursionError):
        raise FrameError("a frame's JSON is malformed") from None
    if not isinstance(found, dict):
        raise FrameError("a frame's JSON is no object")
    return found


def error_fields(error: BaseException) -> dict[str, Any]:
    """An error as JSON; what is a bug of ours shows its kind only."""
    if isinstance(error, FpgaError):
        return {"error": type(error).__name__, "message": _line(str(error))}
    if isinstance(error, ImportError) and error.name:
        said = f"{error.name} is not installed in the Python that drives the board"
        return {"error": "BoardError", "message": said}
    said = f"internal error: {type(error).__name__}: {error}"
    return {"error": "BoardError", "message": _line(said)}


def error_of(document: dict[str, Any]) -> FpgaError:
    """The error that `error_fields` described; a BoardError where it makes no sense."""
    name, message = document.get("error"), document.get("message")
    kind = getattr(errors, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, FpgaError)):
        kind = BoardError
    return kind(_line(message) if isinstance(message, str) else "it does not say what is wrong")


def _line(text: str) -> str:
    return " ".join(text.split())[:MOST_TEXT]
