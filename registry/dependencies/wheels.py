"""The wheels of a lock as verified files, downloaded when they are not there.

    <folder>/<sha256>/<file>

A file is hashed on its way to a temporary one, synced and renamed, so that it is whole or not
there; one that is there is hashed before it is used. Processes may do this at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from registry.blobs import disk_errors_said
from registry.dependencies.download import ATTEMPTS, Downloads, RetryError
from registry.dependencies.lock import MAX_WHEEL_BYTES, Lock, LockedWheel
from registry.errors import CancelledError, RequirementsError

AT_ONCE = 4
POLL_S = 0.05
PARTIAL = ".part"


class WheelCache:
    """The wheels that one workspace keeps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, wheel: LockedWheel) -> Path:
        """Where the wheel lies when it is there."""
        return self._folder / wheel.sha256 / wheel.file

    def present(self, lock: Lock) -> tuple[Path, ...]:
        """The wheels of the lock that are there, and whole."""
        return tuple(
            self.path(wheel)
            for wheel in lock.wheels
            if _verified_size(self.path(wheel), wheel.sha256) is not None
        )

    def fetch(
        self,
        wheels: Sequence[LockedWheel],
        on_bytes: Callable[[int], None] = lambda count: None,
        cancelled: Callable[[], None] = lambda: None,
    ) -> list[Path]:
        """Their files, in order. ``on_bytes`` is told of what was downloaded or found; both
        callables are called in this thread and may raise, which leaves nothing half. Raises
        RequirementsError."""
        work = _Fetching(self)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="wheels") as pool:
            pending = {pool.submit(work.have, wheel) for wheel in wheels}
            try:
                while pending:
                    done, pending = wait(pending, POLL_S, FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    for count in work.counted():
                        on_bytes(count)
                    cancelled()
            except BaseException:
                work.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            finally:
                work.close()
        for count in work.counted():
            on_bytes(count)
        return [self.path(wheel) for wheel in wheels]


class _Fetching:
    """What the threads of one fetch share."""

    def __init__(self, cache: WheelCache) -> None:
        self.stop = threading.Event()
        self._cache = cache
        self._counts: SimpleQueue[int] = SimpleQueue()
        self._downloads = Downloads()

    def close(self) -> None:
        """Ends the connections."""
        self._downloads.close()

    def counted(self) -> Iterator[int]:
        """The numbers of bytes since the last call."""
        with suppress(Empty):
            while True:
                yield self._counts.get_nowait()

    def have(self, wheel: LockedWheel) -> None:
        """Find or download one wheel."""
        path = self._cache.path(wheel)
        size = _verified_size(path, wheel.sha256)
        if size is not None:
            self._counts.put(size)
            return
        with disk_errors_said():
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._download(wheel, path)
                return
            except RetryError as error:
                if attempt == ATTEMPTS:
                    raise RequirementsError(f"{error}; try again later") from error
                if self.stop.wait(0.3 * attempt):
                    raise CancelledError("the download was cancelled") from error

    def _download(self, wheel: LockedWheel, path: Path) -> None:
        with disk_errors_said():
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                with closing(self._checked(wheel)) as chunks:
                    for chunk in chunks:
                        with disk_errors_said():
                            file.write(chunk)
                        self._counts.put(len(chunk))
                with disk_errors_said():
                    file.flush()
                    os.fchmod(file.fileno(), 0o444)
                    os.fsync(file.fileno())
                    os.replace(name, path)
                    _sync_folder(path.parent)
        except FileNotFoundError as error:  # between its making and its lock it looked abandoned
            raise RetryError(f"{wheel.file} was removed while it was written") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)

    def _checked(self, wheel: LockedWheel) -> Generator[bytes, None, None]:
        """The wheel's bytes; raises unless they are those of the lock."""
        hashed = hashlib.sha256()
        limit = MAX_WHEEL_BYTES if wheel.size_bytes is None else wheel.size_bytes
        count = 0
        for chunk in self._downloads.chunks(wheel):
            if self.stop.is_set():
                raise CancelledError("the download was cancelled")
            count += len(chunk)
            if count > limit:
                raise RequirementsError(f"{wheel.file} has more bytes than its index says")
            hashed.update(chunk)
            yield chunk
        if wheel.size_bytes is not None and count < wheel.size_bytes:
            raise RetryError(f"{wheel.file} ends after {count} of {wheel.size_bytes} bytes")
        if hashed.hexdigest() != wheel.sha256:
            raise RequirementsError(
                f"{wheel.file} has another hash than its lock; somebody changed it, or the index"
                " is damaged"
            )


def _verified_size(path: Path, sha256: str) -> int | None:
    """The size of a file that has this hash, else None."""
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return file.tell()
    except FileNotFoundError:
        return None
    except OSError:
        return None
    return None


def _remove_abandoned(folder: Path) -> None:
    """Temporary files of processes that are gone: nobody holds their lock."""
    for path in folder.glob(f"*{PARTIAL}"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
