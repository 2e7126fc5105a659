"""The port that every kind of datastore implements, and the folder on this machine, too: so that an
upload and a download are the same copy, from one ``Files`` to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from registry.datastores import Datastore

CHUNK_BYTES = 4 * 1024 * 1024
MAX_FILES = 1_000_000
"""Of one listing; a server that lists for ever is not followed for ever."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file that is there. ``digest``: what the store knows of its content without reading it,
    ``sha256:<hex>`` or ``md5:<hex>``; ``mark`` names just this content, for the store itself."""

    path: str
    size_bytes: int
    modified_s: float | None = None
    digest: str | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A file to be written. ``chunks`` gives its bytes, from the beginning each time that it is
    called, and raises at their end when they were not the right ones. ``modified_s``: the time that
    the file is to have; ``sha256`` (hex) where it is known before."""

    path: str
    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]
    modified_s: float | None = None
    sha256: str | None = None


@runtime_checkable
class Digesting(Protocol):
    """``Files`` that can have a file read where it lies."""

    def digest(self, item: Item) -> str | None:
        """``sha256:<hex>`` of its bytes; None where that is not done, and they have to be read
        here."""


@runtime_checkable
class Elsewhere(Protocol):
    """The datastores of a workspace that is behind a service, which opens them."""

    def attach(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        *,
        replace: bool = False,
    ) -> Datastore:
        """Make it known, once it has answered to the service."""

    def open_files(self, record: Datastore) -> Files:
        """Its files; nothing is connected yet."""


class Files(Protocol):
    """Files by path; see paths.py for what a path is. Every method may be called by several threads
    at once, raises DatastoreErrors only, and LostConnectionError where trying again may help."""

    @property
    def has_times(self) -> bool:
        """Whether a file keeps, to the second, the time that it was written with, and nothing
        better tells its content."""

    @property
    def wants_digest(self) -> bool:
        """Whether it keeps the SHA-256 of what is written, so that knowing it before is worth
        reading twice."""

    def list(self, prefix: str, after: str = "") -> Iterator[Item]:
        """All files below the folder ``prefix``, or the file of that path, in an order that is the
        store's own; ``after``, a path of this list: those that follow it, also when it has gone.
        Nothing where nothing is there. No symbolic links. Raises UnsafePathError for a name that is
        no path."""

    def stat(self, path: str) -> Item | None:
        """The file, with all that is known of it without reading it. A symbolic link is a file
        with no known content."""

    def read(self, item: Item, offset: int) -> Iterator[bytes]:
        """Its bytes from ``offset``. Raises MissingFileError, and DamagedError where it is no
        longer this item."""

    def write(self, content: Content, *, replace: bool) -> None:
        """The whole file, or no change: at no moment is a half one seen, and what is there stays
        there until the new one is complete. Raises ClashError where one is there and ``replace``
        is not set, FullError."""

    def delete(self, path: str) -> None:
        """The file, and folders that become empty. Raises MissingFileError."""

    def close(self) -> None:
        """Connections end. May be called twice; the next use opens them again."""
