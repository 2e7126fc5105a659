"""HAProxy's folder: files that are whole or not there, and that only its account can read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.balance import configuration
from runtime.balance.errors import FolderError
from runtime.balance.process import Account

NEXT = "next"
LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Folder:
    """Methods raise FolderError."""

    path: Path
    account: Account

    def lock(self) -> int:
        """Makes the folder and locks it for one keeper; the descriptor is the lock."""
        while True:
            descriptor = self._locked()
            with contextlib.suppress(OSError):
                # The keeper before may have removed it while this one waited to have it.
                if os.path.samestat(os.fstat(descriptor), os.stat(self.path / LOCK)):
                    return descriptor
            os.close(descriptor)

    def _locked(self) -> int:
        try:
            self._make(self.path)
            self.path.chmod(0o700)
            self._require_way()
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise FolderError(f"{self.path} belongs to another keeper, which runs") from None
        return descriptor

    def read(self, name: str) -> str | None:
        """None when there is none; damaged text is another text."""
        try:
            return (self.path / name).read_text(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None

    def store(self, files: Mapping[str, str]) -> None:
        """Those that differ from what is there."""
        for name, text in files.items():
            if self.read(name) != text:
                self._write(self.path, name, text)

    @contextmanager
    def staged(self, files: Mapping[str, str]) -> Iterator[Path]:
        """A folder with these files, for as long as the block runs."""
        folder = self.path / NEXT
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for name, text in files.items():
                self._write(folder, name, text)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def generations(self) -> list[int]:
        """Of the runs of HAProxy whose sockets are here, the last one first."""
        found = (configuration.generation_of(path.name) for path in self.path.iterdir())
        return sorted((number for number in found if number is not None), reverse=True)

    def keep_only(self, names: Collection[str], *folders: str) -> None:
        """Of the files in these folders: a service that is gone leaves no private key behind."""
        for folder in folders:
            for path in (self.path / folder).glob("*"):
                if f"{folder}/{path.name}" not in names:
                    path.unlink(missing_ok=True)

    def remove(self, *names: str) -> None:
        """Where they are."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """All but the lock."""
        try:
            for path in self.path.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
        except OSError as error:
            raise self._unusable(error) from None

    def remove_if_clear(self) -> None:
        """With the lock, which the caller holds, where nothing else is in it."""
        with contextlib.suppress(OSError):
            if [path.name for path in self.path.iterdir()] == [LOCK]:
                (self.path / LOCK).unlink()
                self.path.rmdir()

    def _write(self, folder: Path, name: str, text: str) -> None:
        parts = PurePosixPath(name).parts
        path = folder / name
        new = path.with_name(f".{path.name}.new")
        try:
            for depth in range(len(parts)):
                self._make(folder.joinpath(*parts[:depth]))
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                if (ids := self.account.ids) is not None:
                    os.fchown(file.fileno(), *ids)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.rename(path)
        except OSError as error:
            raise self._unusable(error) from None

    def _make(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if (ids := self.account.ids) is not None:
            os.chown(folder, *ids)

    def _require_way(self) -> None:
        """HAProxy must be able to walk to its folder."""
        ids = self.account.ids
        if ids is None or ids[0] == 0:
            return
        for parent in self.path.resolve().parents:
            found = parent.stat()
            bit = 0o100 if found.st_uid == ids[0] else 0o010 if found.st_gid == ids[1] else 0o001
            if not found.st_mode & bit:
                raise FolderError(
                    f"HAProxy's account '{self.account.name}' cannot enter {parent}; choose a "
                    "folder for it elsewhere, such as under /run, or another account"
                )

    def _unusable(self, error: OSError) -> FolderError:
        return FolderError(f"cannot use the folder {self.path}: {error.strerror}")
