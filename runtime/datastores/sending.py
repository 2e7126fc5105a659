"""One file from one ``Files`` to another: read, checked, written, tried again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Event
from typing import TypeVar

from runtime.datastores.comparing import Verdict, algorithm, compare, compare_digests, kept_time
from runtime.datastores.errors import (
    DamagedError,
    LostConnectionError,
    MissingFileError,
    StoppedError,
)
from runtime.datastores.paths import shown
from runtime.datastores.patience import Patience, tried
from runtime.datastores.port import Content, Digesting, Files, Item

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """A file of the source, and the path that it gets."""

    item: Item
    path: str


class Sender:
    """Copies files of one transfer. ``stop``: set by who wants it to end; ``clock`` in seconds of
    the epoch; ``patience`` makes one for each file."""

    def __init__(
        self,
        source: Files,
        target: Files,
        *,
        stop: Event,
        clock: Callable[[], float],
        patience: Callable[[], Patience],
    ) -> None:
        self._source = source
        self._target = target
        self._stop = stop
        self._clock = clock
        self._patience = patience
        self._has_times = source.has_times or target.has_times

    def verdict(self, pair: Pair) -> Verdict | None:
        """Whether the target has it; None where it has no such file."""
        return self._tried(lambda: self._verdict(pair))

    def send(self, pair: Pair, *, replace: bool, on_bytes: Callable[[int], None]) -> None:
        """The whole file. ``on_bytes``: how many of it are done, also when it begins again."""
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            # The connection may have been lost after all was done, with only the answer missing.
            if attempts == 1 or self._verdict(pair) != "same":
                self._send(pair, replace, on_bytes)

        self._tried(attempt)

    def _tried(self, act: Callable[[], T]) -> T:
        if self._stop.is_set():
            raise StoppedError("the transfer was stopped")
        return tried(act, self._patience())

    def _verdict(self, pair: Pair) -> Verdict | None:
        there = self._target.stat(pair.path)
        if there is None:
            return None
        first = compare(pair.item, there, has_times=self._has_times)
        if first != "unknown":
            return first
        source = self._source.stat(pair.item.path)
        if source is None:
            raise MissingFileError(f"{shown(pair.item.path)} has gone meanwhile")
        first = compare(source, there, has_times=self._has_times)
        if first != "unknown":
            return first
        known = there.digest or source.digest or "sha256:"
        ours = source.digest or self.digest(self._source, source, algorithm(known))
        theirs = there.digest or self.digest(self._target, there, algorithm(known))
        if algorithm(ours) != algorithm(theirs):
            ours = self.digest(self._source, source, algorithm(theirs))
        return compare_digests(ours, theirs)

    def digest(self, files: Files, item: Item, name: str) -> str:
        """Of its bytes, read for it."""
        if name == "sha256" and isinstance(files, Digesting):
            there = files.digest(item)
            if there is not None:
                return there
        found = hashlib.new(name, usedforsecurity=False)
        for chunk in self._chunks(files, item):
            found.update(chunk)
        return f"{name}:{found.hexdigest()}"

    def _send(self, pair: Pair, replaces: bool, on_bytes: Callable[[int], None]) -> None:
        item = pair.item
        if item.digest is None and not self._source.has_times:
            seen = self._source.stat(item.path)  # may know more than a listing
            item = replace(item, digest=seen.digest if seen else None)
        if item.digest is None and self._target.wants_digest:
            item = replace(item, digest=self.digest(self._source, item, "sha256"))

        def chunks() -> Iterator[bytes]:
            on_bytes(0)
            return self._checked(item, on_bytes)

        known = item.digest if item.digest and algorithm(item.digest) == "sha256" else None
        content = Content(
            path=pair.path,
            size_bytes=item.size_bytes,
            chunks=chunks,
            modified_s=kept_time(item.modified_s, self._clock()),
            sha256=known.partition(":")[2] if known else None,
        )
        self._target.write(content, replace=replaces)

    def _checked(self, item: Item, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
        """Its bytes, which raise at their end where they are not those that were announced."""
        name = algorithm(item.digest) if item.digest else None
        found = hashlib.new(name, usedforsecurity=False) if name else None
        done = 0
        for chunk in self._chunks(self._source, item):
            if found is not None:
                found.update(chunk)
            yield chunk
            done += len(chunk)
            on_bytes(done)
        if done != item.size_bytes:
            raise DamagedError(
                f"{shown(item.path)} has {done} bytes, not {item.size_bytes}; try again"
            )
        if found is not None and f"{name}:{found.hexdigest()}" != item.digest:
            raise DamagedError(
                f"{shown(item.path)} did not arrive with the bytes of its digest; try again"
            )

    def _chunks(self, files: Files, item: Item) -> Iterator[bytes]:
        """From where the connection was lost, when it was. At most one byte more than there should
        be: what follows is wrong anyway."""
        patience, offset = self._patience(), 0
        while True:
            try:
                for chunk in files.read(item, offset):
                    if self._stop.is_set():
                        raise StoppedError("the transfer was stopped")
                    yield chunk
                    offset += len(chunk)
                    patience.went_well()
                    if offset > item.size_bytes:
                        return
                return
            except LostConnectionError as error:
                patience.lost(error)
