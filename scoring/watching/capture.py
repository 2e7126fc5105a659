"""Model telemetry: a share of the requests and their answers, as lines of JSON in a file.

capture = Capture(Path("captured.jsonl"), share=0.05, max_bytes=1_000_000_000)
capture.offer(Record(...))                 # never blocks, never raises
capture.close()                            # writes what waits

One line: {"time", "request_id", "route", "model", "version", "status", "milliseconds", "input",
"output"}, where input and output are {"content_type", "bytes", "json"}, or "base64" instead of
"json" for what is no JSON text; what is longer than ``body_bytes`` is cut there and has
"truncated": true. An answer that was streamed is {"content_type", "streamed": true}. Several
processes may write the same file: each line is one appending write. (An empty line may stand
where a process began while another one wrote.)

When the file has ``max_bytes``, what follows is dropped and counted: nothing that was captured is
thrown away. Whoever moves the file away gets a new one. (Each process looks before it writes, so
the file can be longer by one line for each further process.)
"""

from __future__ import annotations

import logging
import os
import random as randomness
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import msgspec

KIB = 1024
ID_CHARACTERS = 256
logger = logging.getLogger("scoring.watching.capture")


class Record(msgspec.Struct, frozen=True):
    """One request and its answer; ``at`` is the Unix time of its arrival, ``output`` None for a
    stream, which is not kept."""

    at: float
    request_id: str
    route: str
    model: str
    version: str
    status: int
    seconds: float
    input: bytes
    input_type: str
    output: bytes | None
    output_type: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Records so far: in the file; dropped for want of room (in the file or on the way to it);
    lost to an error."""

    written: int
    dropped: int
    failed: int


class Capture:
    """Writes from a thread of its own, which starts with the first record (so after a fork)."""

    def __init__(
        self,
        path: Path,
        share: float,
        max_bytes: int,
        *,
        body_bytes: int = 64 * KIB,
        waiting: int = 256,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        """``share`` of the records are kept, 0 to 1; ``waiting`` is how many may be on the way to
        the file (with at most twice ``body_bytes`` each)."""
        if not 0 <= share <= 1:
            raise ValueError(f"the share to capture must be from 0 to 1, not {share:g}")
        self._share = share
        self._body_bytes = body_bytes
        self._waiting = waiting
        self._random = random
        self._queue: SimpleQueue[_Taken | None] = SimpleQueue()
        self._file = _File(path, max_bytes)
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._written = 0
        self._failed = 0
        self._dropped = [0, 0]
        """On the way, and at the file: one for each thread."""

    @property
    def counts(self) -> Counts:
        """What became of the records that were in the share."""
        return Counts(self._written, sum(self._dropped), self._failed)

    def open(self) -> None:
        """Find out whether the file can be written, before the first record. Raises OSError."""
        self._file.open()

    def offer(self, record: Record) -> None:
        """Take the record if it is in the share and there is room. Called from one thread."""
        if self._random() >= self._share:
            return
        if self._is_closed or self._queue.qsize() >= self._waiting:
            self._dropped[0] += 1
            return
        self._queue.put(_taken(record, self._body_bytes))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="capture", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, for as long as ``timeout_s``; idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _write(self) -> None:
        while (taken := self._queue.get()) is not None:
            try:
                if self._file.append(taken.line()):
                    self._written += 1
                else:
                    self._dropped[1] += 1
            except Exception as error:  # a full disk, say: no client must ever notice
                self._failed += 1
                if self._failed == 1:
                    logger.error("requests cannot be captured: %s", error)
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Taken:
    """A record on its way, its bodies cut already (long ones must not wait in memory), and how long
    they were."""

    record: Record
    input_size: int
    output_size: int

    def line(self) -> bytes:
        """The line of the file."""
        record = self.record
        at = datetime.fromtimestamp(record.at, UTC)
        line = _Line(
            time=at.replace(tzinfo=None).isoformat("T", "milliseconds") + "Z",
            request_id=record.request_id[:ID_CHARACTERS],
            route=record.route,
            model=record.model,
            version=record.version,
            status=record.status,
            milliseconds=round(record.seconds * 1e3, 3),
            input=_body(record.input, self.input_size, record.input_type),
            output=(
                _Streamed(record.output_type)
                if record.output is None
                else _body(record.output, self.output_size, record.output_type)
            ),
        )
        return msgspec.json.encode(line) + b"\n"


def _taken(record: Record, bound: int) -> _Taken:
    output = record.output
    sizes = len(record.input), 0 if output is None else len(output)
    if max(sizes) > bound:
        output = None if output is None else output[:bound]
        record = msgspec.structs.replace(record, input=record.input[:bound], output=output)
    return _Taken(record, *sizes)


class _Json(msgspec.Struct):
    content_type: str
    bytes: int
    json: msgspec.Raw


class _Base64(msgspec.Struct, omit_defaults=True):
    content_type: str
    bytes: int
    base64: str
    truncated: bool = False


class _Streamed(msgspec.Struct):
    content_type: str
    streamed: bool = True


class _Line(msgspec.Struct):
    time: str
    request_id: str
    route: str
    model: str
    version: str
    status: int
    milliseconds: float
    input: _Json | _Base64
    output: _Json | _Base64 | _Streamed


def _body(body: bytes, size: int, content_type: str) -> _Json | _Base64:
    """The JSON text as it is, but for white space: numbers keep their digits."""
    if len(body) == size:
        try:
            body.decode()  # format() does not look into strings
            text = msgspec.json.format(body, indent=-1)
            return _Json(content_type, size, msgspec.Raw(text))
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
            pass
    return _Base64(content_type, size, b64encode(body).decode(), len(body) < size)


class _File:
    """Appends lines to the file at a path, up to a size."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._is_torn = False

    def append(self, line: bytes) -> bool:
        """Whether there was room; raises OSError."""
        descriptor = self.open()
        if self._is_torn:
            line = b"\n" + line
        if os.fstat(descriptor).st_size + len(line) > self._max_bytes:
            return False
        written = os.write(descriptor, line)
        self._is_torn = written < len(line)
        if self._is_torn:
            raise OSError(f"{self._path}: only a part of the line could be written")
        return True

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def open(self) -> int:
        """The descriptor; raises OSError."""
        if self._descriptor is not None:
            if self._is_at_its_path(self._descriptor):
                return self._descriptor
            self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._is_torn = _ends_within_a_line(self._path)
        return self._descriptor

    def _is_at_its_path(self, descriptor: int) -> bool:
        try:
            there, here = os.stat(self._path), os.fstat(descriptor)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _ends_within_a_line(path: Path) -> bool:
    """Whether a process was killed, or a disk was full, in the middle of a line."""
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
