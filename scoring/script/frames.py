"""The frames that the server and a script worker exchange over one Unix socket.

A frame is ``<header length: u32 LE> <body length: u64 LE> <ticket: u32 LE> <header> <body: raw
bytes>``. The header is one of the messages below; bodies are never encoded and nothing is ever
pickled. One request or one batch is under way on a socket at a time; its number, the ticket, comes
back with every frame that answers it, so that an answer too many is seen and never taken for that
of the next request.

    worker -> server   [Proving] Ready | LoadFailed            once, after init()
    server -> worker   ScoreRequest (body = request body), or
                       ScoreBatch   (body = all bodies, one after the other)
    worker -> server   Reply (body = whole response body)      one per request, in any order, or
                       StreamHead, StreamChunk..., StreamEnd   when run() returned a generator
                       Progress                                in a batch: it takes longer than once

The first three are JSON objects tagged by ``type``, because a Swagger document may hold any JSON;
all others are MessagePack arrays, which are quick. No array starts as a JSON object does.

The functions here are pure; who reads and writes the socket is the callers' business.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import msgspec

PREFIX = struct.Struct("<IQI")
MAX_HEADER_BYTES = 64 * 1024 * 1024
MAX_TICKET = 2**32 - 1
Headers = list[tuple[str, str]]


class FrameError(ValueError):
    """The bytes on the socket are not a frame: the peer is broken and must be replaced."""


class Proving(msgspec.Struct, tag="proving", frozen=True):
    """init() has returned and run() is now tried on its sample (scoring/azure/merging.py). Should
    the worker die of that, the next one must not try."""


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """init() has returned. ``swagger`` maps each version alias (2, 2.0, 3, 3.0, 3.1) to a document;
    ``swagger_versions`` are the canonical versions that this script supports, sorted."""

    mode: str  # "json-string" | "object" | "raw"
    pid: int
    swagger: dict[str, Any]
    swagger_versions: list[str]
    merging: bool = False
    """Whether a batch of several requests is answered by one call of the script."""
    merging_reason: str = ""
    """Why, or why not: one line for the log and for whoever asks the server."""


class LoadFailed(msgspec.Struct, tag="load-failed", frozen=True):
    """The script cannot serve. ``stage`` is "import", "check" or "init"; ``message`` has no
    traceback (that went to the log)."""

    stage: str
    message: str


class ScoreRequest(msgspec.Struct, tag=1, array_like=True, frozen=True, gc=False):
    """One HTTP request for run(). Header names are as the client sent them; ``query`` is raw."""

    method: str
    path: str
    query: str
    headers: Headers
    scheme: str = "http"
    server: tuple[str, int] = ("127.0.0.1", 80)
    client: tuple[str, int] = ("127.0.0.1", 0)


class ScoreBatch(msgspec.Struct, tag=2, array_like=True, frozen=True, gc=False):
    """Several requests at once and the size of each one's body, in order."""

    requests: list[ScoreRequest]
    body_bytes: list[int]


class Reply(msgspec.Struct, tag=3, array_like=True, frozen=True, gc=False):
    """A whole response. ``headers`` has Content-Type and what run() set; never Content-Length,
    request ids, server version, TraceId or CORS: the HTTP side adds those. ``run_ms`` is None
    unless run() returned."""

    status: int
    headers: Headers
    run_ms: float | None = None
    failed: bool = False
    """run() raised or timed out (for metrics; the header says it to the client)."""
    internal_error: bool = False
    """The value that run() returned could not be encoded, or the worker itself failed."""
    index: int = 0
    """Which request of the batch this answers."""


class StreamHead(msgspec.Struct, tag=4, array_like=True, frozen=True, gc=False):
    """The start of a streamed response; chunks follow, then StreamEnd. Never in a batch."""

    status: int
    headers: Headers
    run_ms: float | None = None


class StreamChunk(msgspec.Struct, tag=5, array_like=True, frozen=True, gc=False):
    """One piece of a streamed body; the bytes are the frame's body."""


class StreamEnd(msgspec.Struct, tag=6, array_like=True, frozen=True, gc=False):
    """The stream is over. ``broken``: the generator raised, so cut the connection."""

    broken: bool = False


class Progress(msgspec.Struct, tag=7, array_like=True, frozen=True, gc=False):
    """The batch could not be answered at once: its requests are now run one by one, each of them
    within the time limit."""


LoadMessage = Proving | Ready | LoadFailed
ScoreMessage = ScoreRequest | ScoreBatch | Reply | StreamHead | StreamChunk | StreamEnd | Progress
Message = LoadMessage | ScoreMessage

_json_encoder, _json_decoder = msgspec.json.Encoder(), msgspec.json.Decoder(LoadMessage)
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(ScoreMessage)
_JSON_STARTS_WITH = ord("{")
_LOADING = frozenset({Proving, Ready, LoadFailed})


class Frame(NamedTuple):
    """One frame as it was received."""

    message: Message
    body: bytes
    ticket: int


def encode(message: Message, body: bytes | bytearray = b"", ticket: int = 0) -> bytes:
    """The bytes of one frame. Bodies are copied once; send large ones with ``head`` instead."""
    return head(message, len(body), ticket) + body


def head(message: Message, body_bytes: int, ticket: int = 0) -> bytes:
    """All of a frame but its body of ``body_bytes`` bytes."""
    header = (_json_encoder if type(message) in _LOADING else _encoder).encode(message)
    return PREFIX.pack(len(header), body_bytes, ticket) + header


def sizes(data: bytes | bytearray | memoryview, at: int = 0) -> tuple[int, int, int]:
    """Header length, body length and ticket from the ``PREFIX.size`` bytes at ``at``.

    Raises FrameError when the header length is absurd."""
    found = PREFIX.unpack_from(data, at)
    if found[0] > MAX_HEADER_BYTES:
        raise FrameError(f"frame header of {found[0]} bytes")
    return found


def decode_header(data: bytes | bytearray | memoryview) -> Message:
    """The message in a frame's header. Raises FrameError when it is none of ours."""
    message: Message
    try:
        if len(data) and data[0] == _JSON_STARTS_WITH:
            message = _json_decoder.decode(data)
        else:
            message = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"not a frame header: {error}") from error
    return message
