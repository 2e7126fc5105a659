"""The frames that the server and a script worker exchange over one Unix socket.

A frame is ``<header length: u32 LE> <body length: u64 LE> <header: JSON> <body: raw bytes>``.
The header is one of the messages below, tagged by ``type``; bodies are never encoded and nothing
is ever pickled. One request is under way on a socket at a time.

    server -> worker   ScoreRequest (body = request body)
    worker -> server   Ready | LoadFailed                      once, after init()
                       Reply (body = whole response body)       answers a ScoreRequest, or
                       StreamHead, StreamChunk..., StreamEnd    when run() returned a generator

The functions here are pure; who reads and writes the socket is the callers' business.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

PREFIX = struct.Struct("<IQ")
MAX_HEADER_BYTES = 64 * 1024 * 1024
Headers = list[tuple[str, str]]


class FrameError(ValueError):
    """The bytes on the socket are not a frame: the peer is broken and must be replaced."""


class ScoreRequest(msgspec.Struct, tag="score", frozen=True):
    """One HTTP request for run(). Header names are as the client sent them; ``query`` is raw."""

    method: str
    path: str
    query: str
    headers: Headers
    scheme: str = "http"
    server: tuple[str, int] = ("127.0.0.1", 80)
    client: tuple[str, int] = ("127.0.0.1", 0)


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """init() has returned. ``swagger`` maps each version alias (2, 2.0, 3, 3.0, 3.1) to a document;
    ``swagger_versions`` are the canonical versions that this script supports, sorted."""

    mode: str  # "json-string" | "object" | "raw"
    pid: int
    swagger: dict[str, Any]
    swagger_versions: list[str]


class LoadFailed(msgspec.Struct, tag="load-failed", frozen=True):
    """The script cannot serve. ``stage`` is "import", "check" or "init"; ``message`` has no
    traceback (that went to the log)."""

    stage: str
    message: str


class Reply(msgspec.Struct, tag="reply", frozen=True):
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


class StreamHead(msgspec.Struct, tag="stream-head", frozen=True):
    """The start of a streamed response; chunks follow, then StreamEnd."""

    status: int
    headers: Headers
    run_ms: float | None = None


class StreamChunk(msgspec.Struct, tag="stream-chunk", frozen=True):
    """One piece of a streamed body; the bytes are the frame's body."""


class StreamEnd(msgspec.Struct, tag="stream-end", frozen=True):
    """The stream is over. ``broken``: the generator raised, so cut the connection."""

    broken: bool = False


Message = ScoreRequest | Ready | LoadFailed | Reply | StreamHead | StreamChunk | StreamEnd

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


def encode(message: Message, body: bytes = b"") -> bytes:
    """The bytes of one frame. Bodies are copied once; send large ones with ``head`` instead."""
    return head(message, len(body)) + body


def head(message: Message, body_bytes: int) -> bytes:
    """All of a frame but its body of ``body_bytes`` bytes."""
    header = _encoder.encode(message)
    return PREFIX.pack(len(header), body_bytes) + header


def sizes(prefix: bytes) -> tuple[int, int]:
    """Header and body length from the first ``PREFIX.size`` bytes.

    Raises FrameError when the header length is absurd."""
    header_bytes, body_bytes = PREFIX.unpack(prefix)
    if header_bytes > MAX_HEADER_BYTES:
        raise FrameError(f"frame header of {header_bytes} bytes")
    return header_bytes, body_bytes


def decode_header(data: bytes) -> Message:
    """The message in a frame's header. Raises FrameError when it is none of ours."""
    try:
        message: Message = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"not a frame header: {error}") from error
    return message
