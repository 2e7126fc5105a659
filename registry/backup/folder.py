"""A backup in a folder, which grows by what is new.

<backup>/
  inferry-backup          says what this folder is
  lock                    held by whoever writes
  snapshots/<id>.json     what was where at one moment (record.py); the last rename of a backup
  blobs/<hex>             every file's bytes
  staging/                being written
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.backup.port import target_errors_said, write_all
from registry.backup.record import ID, Snapshot, decoded, encoded
from registry.blobs import CHUNK_BYTES
from registry.errors import BackupError, TargetError, TargetExistsError

MARK = "inferry-backup"
MARK_TEXT = b"A backup of an Inferry workspace; inferry restore reads it.\n"


class FolderSink:
    """Made by ``writing``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs"
        self._snapshots = root / "snapshots"
        self.staging = root / "staging"
        self._count = 0

    def last_id(self) -> str | None:
        """See Sink."""
        return next(reversed(FolderSource(self._root).ids()), None)

    def has(self, digest: str, size_bytes: int) -> bool:
        """By its size alone: verifying is another verb."""
        try:
            return self._blob(digest).stat().st_size == size_bytes
        except FileNotFoundError:
            return False

    def is_whole(self, digest: str) -> bool:
        """Reads all of it."""
        try:
            for _ in _chunks(self._blob(digest), digest):
                pass
        except BackupError:
            return False
        return True

    def add(self, digest: str, size_bytes: int, chunks: Iterable[bytes]) -> None:
        """See Sink."""
        self._count += 1
        path = self.staging / f"blob-{self._count}"
        try:
            with target_errors_said(self._root):
                file = path.open("xb", 0)
            with file:
                for chunk in chunks:
                    with target_errors_said(self._root):
                        write_all(file, chunk)
                with target_errors_said(self._root):
                    os.fsync(file.fileno())
            self.adopt(path, digest, size_bytes)
        finally:
            with suppress(FileNotFoundError):
                path.unlink()

    def adopt(self, file: Path, digest: str, size_bytes: int) -> None:
        """See Sink."""
        with target_errors_said(self._root):
            file.chmod(0o600)
            os.replace(file, self._blob(digest))

    def commit(self, snapshot: Snapshot, keep: int) -> None:
        """See Sink."""
        with target_errors_said(self._root):
            sync_folder(self._blobs)
            write_synced(self.staging / "snapshot", encoded(snapshot))
            os.replace(self.staging / "snapshot", self._snapshots / f"{snapshot.id}.json")
            sync_folder(self._snapshots)
            self._forget(keep)

    def _forget(self, keep: int) -> None:
        """The oldest snapshots, and then the bytes that none names any more. One that cannot be
        read is of nobody's making, and keeps all bytes there: it may be mended by hand."""
        source = FolderSource(self._root)
        ids = source.ids()
        for id in ids[:-keep]:
            (self._snapshots / f"{id}.json").unlink()
        try:
            named = {digest for id in ids[-keep:] for digest in source.snapshot(id).contents()}
        except BackupError:
            return
        for path in self._blobs.iterdir():
            if f"sha256:{path.name}" not in named:
                path.unlink()

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")


class FolderSource:
    """See Source."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def ids(self) -> list[str]:
        """See Source."""
        try:
            names = [path.stem for path in (self._root / "snapshots").glob("*.json")]
        except OSError as error:
            raise BackupError(f"the backup cannot be read: {error.strerror}") from error
        return sorted(name for name in names if ID.fullmatch(name))

    def snapshot(self, id: str) -> Snapshot:
        """See Source."""
        try:
            return decoded((self._root / "snapshots" / f"{id}.json").read_bytes())
        except OSError as error:
            raise BackupError(f"snapshot {id} cannot be read: {error.strerror}") from error

    def chunks(self, digest: str) -> Iterator[bytes]:
        """See Source."""
        return _chunks(self._root / "blobs" / digest.removeprefix("sha256:"), digest)


@contextmanager
def writing(root: Path) -> Iterator[FolderSink]:
    """The backup in ``root``, made when there is none; nobody else writes it meanwhile. Raises
    TargetExistsError for a folder with other things."""
    with target_errors_said(root):
        if root.exists() and not is_backup(root) and any(root.iterdir()):
            raise TargetExistsError(f"'{root}' is not empty and no backup; name a new folder")
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_backup(root):
            write_synced(root / MARK, MARK_TEXT)
    with _locked(root):
        sink = FolderSink(root)
        with target_errors_said(root):
            shutil.rmtree(sink.staging, ignore_errors=True)  # of one that was killed
            for folder in (sink.staging, root / "blobs", root / "snapshots"):
                folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(root)
        try:
            yield sink
        finally:
            shutil.rmtree(sink.staging, ignore_errors=True)


def is_backup(root: Path) -> bool:
    """Whether a backup has begun here, whole or not. A folder that has nothing but our lock is as
    good as empty."""
    return (root / MARK).is_file()


@contextmanager
def reading(root: Path) -> Iterator[FolderSource]:
    """For the block nobody forgets a snapshot. Raises BackupError."""
    if not is_backup(root):
        raise BackupError(f"'{root}' is no backup; make one with: inferry backup {root}")
    try:
        handle = os.open(root / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a copy of a backup has no lock, and nobody writes it
        yield FolderSource(root)
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"a backup is being written to '{root}'; try again later") from None
        yield FolderSource(root)
    finally:
        os.close(handle)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    with target_errors_said(root):
        handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with target_errors_said(root):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TargetError(
                    f"another process reads or writes the backup '{root}'; try again later"
                ) from None
        yield
    finally:
        os.close(handle)


def _chunks(path: Path, digest: str) -> Iterator[bytes]:
    hashed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                hashed.update(chunk)
                yield chunk
    except OSError as error:
        raise BackupError(f"{digest} cannot be read in the backup: {error.strerror}") from error
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise BackupError(f"{digest} is damaged in the backup")


def write_synced(path: Path, data: bytes) -> None:
    """A new small file for its owner alone. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Its names are on the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
