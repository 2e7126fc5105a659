"""A folder on an SSH server as ``Files``, over SFTP.

A file is written under another name in its folder and renamed; SFTP knows no digests, so size and
time to the second tell whether a file is the same. Names are checked before they mean anything:
what a server lists is as good as what a stranger says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from os import urandom
from threading import Lock

from runtime.datastores.errors import (
    ClashError,
    DamagedError,
    DatastoreError,
    LostConnectionError,
    MissingFileError,
    UnsafePathError,
)
from runtime.datastores.paths import (
    UNFINISHED,
    check_part,
    check_path,
    is_unfinished,
    join,
    parts_below,
    shown,
)
from runtime.datastores.port import MAX_FILES, Content, Item
from runtime.datastores.ssh.login import Login
from runtime.datastores.ssh.meaning import meaning
from runtime.datastores.ssh.server import Seen, Server, connect


class SftpFiles:
    """``root``: a folder that is there; from the user's home where it does not begin with a slash.
    It connects when it is used, and again after the connection was lost."""

    has_times = True
    wants_digest = False

    def __init__(self, login: Login, root: str) -> None:
        self._login = login
        self._root = root.rstrip("/")
        self._lock = Lock()
        self._server: Server | None = None
        self._litter: set[str] = set()
        """What half a file is in, and could not be removed while the connection was lost."""

    def __repr__(self) -> str:
        return f"SftpFiles({self._login!r}, {self._root!r})"

    def list(self, prefix: str, after: str = "") -> Iterator[Item]:
        """Folder by folder, in order of path within each: its files, then what is below it."""
        rest = parts_below(prefix, after)
        if prefix:
            found = self._seen(prefix)
            if found is None or found.kind != "folder":
                if found is not None and found.kind == "file" and not after:
                    yield _item(prefix, found)
                return
        left = MAX_FILES
        folders = [(prefix, rest)]
        while folders:
            below = []
            folder, rest = folders.pop()
            for path, found in self._entries(folder):
                left -= 1
                if left < 0:
                    raise DatastoreError(f"more than {MAX_FILES} files are there; name a folder")
                name = path.rpartition("/")[2]
                # What comes after a file of this folder, or after something below it.
                is_deep = len(rest) > 1
                if found.kind == "folder" and not (is_deep and name < rest[0]):
                    below.append((path, rest[1:] if is_deep and name == rest[0] else ()))
                elif found.kind == "file" and not (is_deep or (rest and name <= rest[0])):
                    yield _item(path, found)
            folders.extend(reversed(below))

    def stat(self, path: str) -> Item | None:
        """A link is a file whose content is not known."""
        found = self._seen(path)
        return None if found is None or found.kind == "folder" else _item(path, found)

    def read(self, item: Item, offset: int) -> Iterator[bytes]:
        """In chunks of several MiB."""
        with self._connected(item.path) as server:
            yield from server.read(self._place(item.path), offset, item.size_bytes)
        self._still(item)

    def write(self, content: Content, *, replace: bool) -> None:
        """Under another name first; complete, and on the server's disk where it can do that,
        before it gets its own."""
        folder = content.path.rpartition("/")[0]
        made = self._place(join(folder, f"{UNFINISHED}{urandom(8).hex()}"))
        place = self._place(content.path)
        with self._connected(content.path) as server:
            if folder:
                server.make_folders(self._place(folder))
            try:
                arrived = server.fill(made, content.chunks(), content.modified_s)
                if arrived != content.size_bytes:
                    raise DamagedError(
                        f"{shown(content.path)} arrived with {arrived} bytes, not"
                        f" {content.size_bytes}; try again"
                    )
                self._publish(server, made, place, content.path, replace=replace)
            except BaseException:
                self._litter.add(made)
                self._tidy(server)
                raise

    def delete(self, path: str) -> None:
        """A link itself, never what it points to."""
        with self._connected(path) as server:
            server.remove(self._place(path))
            with suppress(Exception):  # the first folder that is not empty ends it
                while path := path.rpartition("/")[0]:
                    server.remove_folder(self._place(path))

    def close(self) -> None:
        """The connection ends."""
        if self._litter:
            with suppress(DatastoreError), self._connected(""):
                pass  # a new connection is tidied with
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def check(self) -> None:
        """Connect, and look at the root. Raises DatastoreErrors."""
        with self._connected(self._root or "/") as server:
            if server.seen(self._root or "/", follows=True).kind != "folder":
                raise UnsafePathError(f"{shown(self._root)} is no folder on the server")
            server.names(self._root or "/")

    def _place(self, path: str) -> str:
        return f"{self._root}/{check_path(path)}"

    def _seen(self, path: str) -> Seen | None:
        try:
            with self._connected(path) as server:
                return server.seen(self._place(path))
        except MissingFileError:
            return None

    def _still(self, item: Item) -> None:
        found = self._seen(item.path)
        if found is None:
            raise MissingFileError(f"there is no {shown(item.path)} on the server")
        if found.kind != "file":
            raise UnsafePathError(f"{shown(item.path)} is no file on the server")
        now = _item(item.path, found)
        if (now.size_bytes, now.modified_s) != (item.size_bytes, item.modified_s):
            raise DamagedError(f"{shown(item.path)} changed while it was read; try again")

    def _entries(self, folder: str) -> Sequence[tuple[str, Seen]]:
        with self._connected(folder or ".") as server:
            names = server.names(self._place(folder) if folder else self._root or "/")
        found = []
        for name, seen in names:
            if isinstance(name, bytes):
                raise UnsafePathError("the server lists a name that is no text in UTF-8")
            if name not in (".", "..") and not is_unfinished(name):
                found.append((check_path(join(folder, check_part(name))), seen))
        return sorted(found, key=lambda entry: entry[0])

    def _publish(self, server: Server, made: str, place: str, path: str, *, replace: bool) -> None:
        try:
            server.publish(made, place, replace=replace)
        except Exception as error:
            try:
                server.seen(place)  # OpenSSH says "failure", whatever it was
            except Exception:
                raise error from None
            raise ClashError(f"{shown(path)} is there already", [path]) from error

    @contextmanager
    def _connected(self, path: str) -> Iterator[Server]:
        """The connection, made when there is none. Errors are translated, and a connection that was
        lost is forgotten."""
        with self._lock:
            if self._server is None:
                self._server = connect(self._login)
                self._tidy(self._server)
            server = self._server
        try:
            yield server
        except Exception as error:
            said = error if isinstance(error, DatastoreError) else meaning(error, shown(path))
            if isinstance(said, LostConnectionError):
                self._forget(server)
            if said is error:
                raise
            raise said from error

    def _tidy(self, server: Server) -> None:
        for made in list(self._litter):
            try:
                server.remove(made)
            except Exception as error:
                if not isinstance(meaning(error, made), MissingFileError):
                    continue
            self._litter.discard(made)

    def _forget(self, server: Server) -> None:
        with self._lock:
            if self._server is not server:
                return
            self._server = None
        server.close()


def _item(path: str, seen: Seen) -> Item:
    return Item(path, seen.size_bytes if seen.kind == "file" else -1, seen.modified_s)
