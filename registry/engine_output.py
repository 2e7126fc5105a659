"""What a container engine says while it works: heard by a thread, so that it can be interrupted,
and cut into lines, of which a bounded part is kept. Names no SDK."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from registry.errors import CancelledError

POLL_S = 0.1
CUT_TIMEOUT_S = 5
MAX_OUTPUT_BYTES = 1024 * 1024
MAX_LINE_CHARS = 4096

OnLine = Callable[[str], None]
IsCancelled = Callable[[], bool]
T = TypeVar("T")


@dataclass(slots=True)
class BuildOutput:
    """What the builder said so far."""

    on_line: OnLine
    image_id: str | None = None
    _step: str = ""

    @property
    def at(self) -> str:
        """Where it is, for a message."""
        return f" at {self._step}" if self._step else ""

    def take(self, line: Mapping[str, Any]) -> None:
        """One message of its stream."""
        text = line.get("stream")
        if isinstance(text, str):
            for part in text.splitlines():
                if part.startswith("Step "):
                    self._step = part
                if part.strip():
                    self.on_line(part[:MAX_LINE_CHARS])
        aux = line.get("aux")
        if isinstance(aux, Mapping) and "ID" in aux:
            self.image_id = str(aux["ID"])


@dataclass(slots=True)
class ContainerOutput:
    """A container's output: whole lines to ``on_line``, and its last part as text."""

    on_line: OnLine
    _kept: bytearray = field(default_factory=bytearray)
    _line: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        """All of it, or its end."""
        return self._kept[-MAX_OUTPUT_BYTES:].decode("utf-8", "replace")

    def take(self, chunk: bytes) -> None:
        """More of it."""
        self._kept += chunk
        if len(self._kept) > 2 * MAX_OUTPUT_BYTES:
            del self._kept[:-MAX_OUTPUT_BYTES]
        self._line += chunk
        *whole, rest = self._line.split(b"\n")
        for line in whole:
            self._say(line)
        self._line = rest[:MAX_LINE_CHARS]

    def close(self) -> None:
        """There is no more of it."""
        if self._line:
            self._say(self._line)

    def _say(self, line: bytearray) -> None:
        self.on_line(line[:MAX_LINE_CHARS].decode("utf-8", "replace").rstrip("\r"))


def followed(items: Iterable[T], responses: list[Any], is_over: IsCancelled) -> Iterator[T]:
    """The items, read by a thread, so that ``is_over`` is heard while the daemon is silent: then
    its connections, which are those of ``responses``, are cut and CancelledError is raised."""
    heard: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(maxsize=256)
    left = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> None:
        while not left.is_set():
            try:
                heard.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return

    def read() -> None:
        try:
            for item in items:
                put((item,))
                if left.is_set():
                    return
            put(None)
        except BaseException as error:  # raised again where it is heard
            put(error)

    thread = threading.Thread(target=read, name="container engine", daemon=True)
    thread.start()
    try:
        while True:
            if is_over():
                raise CancelledError("cancelled")
            try:
                item = heard.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        left.set()
        _cut(responses, thread)


def _cut(responses: list[Any], thread: threading.Thread) -> None:
    """First ends a read under way, then closes: the other order waits for the read."""
    for response in responses:
        with contextlib.suppress(Exception):  # of what has ended, many kinds
            response.raw.shutdown()
    thread.join(CUT_TIMEOUT_S)
    for response in responses:
        with contextlib.suppress(Exception):
            response.close()
