"""What a program does with a datastore.

with Datastore.get_default(workspace) as datastore:
    datastore.upload("data/train", "digits/train")
    datastore.download("here", prefix="digits/train")      # here/digits/train/...
    datastore.path("digits/train")
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from registry import Workspace
from registry.datastores import Datastore as Record
from registry.paths import WorkspacePaths
from registry.remote import addresses
from runtime.datastores.errors import ClashError, FullError, MissingFileError
from runtime.datastores.folder import FolderFiles
from runtime.datastores.opening import open_files, try_files
from runtime.datastores.paths import check_part, check_prefix, join, shown
from runtime.datastores.patience import WAITS_S, Patience, tried
from runtime.datastores.port import Elsewhere, Files, Item
from runtime.datastores.reach import Resolve
from runtime.datastores.sending import Pair
from runtime.datastores.transfer import OnProgress, Report, transfer

KNOWN_HOSTS = Path("~/.ssh/known_hosts")


@dataclass(frozen=True, slots=True)
class DataPath:
    """A place in a datastore, such as an input of a run names."""

    datastore: str
    path: str

    def __str__(self) -> str:
        return f"datastore:{self.datastore}/{self.path}"


class Datastore:
    """Files by path. Nothing is connected before it is used; ``with``, or ``close``, ends the
    connection. All methods raise DatastoreErrors and RegistryErrors only."""

    def __init__(self, record: Record, files: Files, waits_s: Sequence[float] = WAITS_S) -> None:
        self._record = record
        self._files = files
        self._waits_s = waits_s

    def __repr__(self) -> str:
        return f"Datastore({self.name!r}, {self.kind!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def get(cls, workspace: Workspace, name: str, *, resolve: Resolve = addresses.resolve) -> Self:
        """Of this name; in a workspace of a service, its files go through the service.
        ``resolve``: see ``attach``."""
        return cls._of(workspace, workspace.datastores.get(name), resolve)

    @classmethod
    def get_default(cls, workspace: Workspace) -> Self:
        """The one that is meant where none is named: a folder in the workspace, at first."""
        return cls._of(workspace, workspace.datastores.get_default())

    @classmethod
    def attach(
        cls,
        workspace: Workspace,
        name: str,
        kind: str,
        settings: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        *,
        replace: bool = False,
        known_hosts: Path | None = KNOWN_HOSTS,
        resolve: Resolve = addresses.resolve,
    ) -> Self:
        """Connect, look, and only then make it known. ``known_hosts``: which SSH servers are known
        by their keys; the key is kept, and the only one that is taken from then on. ``resolve``
        looks up the names of servers that must be public."""
        if isinstance(workspace.datastores, Elsewhere):  # the service looks
            there = workspace.datastores.attach(name, kind, settings, secrets, replace=replace)
            return cls._of(workspace, there, resolve)
        record = workspace.datastores.check(name, kind, settings, secrets)
        kept = try_files(
            record,
            secrets or {},
            known_hosts=None if known_hosts is None else known_hosts.expanduser(),
            resolve=resolve,
        )
        made = workspace.datastores.attach(name, kind, kept, secrets, replace=replace)
        return cls._of(workspace, made, resolve)

    @classmethod
    def _of(
        cls, workspace: Workspace, record: Record, resolve: Resolve = addresses.resolve
    ) -> Self:
        if isinstance(workspace.datastores, Elsewhere):
            return cls(record, workspace.datastores.open_files(record))
        secrets = workspace.datastores.secrets(record.name)
        folder = WorkspacePaths(workspace.root).datastore
        return cls(record, open_files(record, secrets, folder, resolve=resolve))

    @property
    def name(self) -> str:
        """In the workspace."""
        return self._record.name

    @property
    def kind(self) -> str:
        """``file``, ``sftp`` or ``s3``."""
        return self._record.kind

    def path(self, path: str = "") -> DataPath:
        """A name for this place; nothing has to be there. Raises UnsafePathError."""
        return DataPath(self.name, check_prefix(path))

    def ls(self, prefix: str = "") -> list[Item]:
        """The file of this path, or all below the folder."""
        checked = check_prefix(prefix)
        return tried(lambda: list(self._files.list(checked)), self._patience())

    def upload(
        self,
        source: Path | str,
        target_path: str = "",
        *,
        overwrite: bool = False,
        follow_links: bool = False,
        on_progress: OnProgress | None = None,
        stop: Event | None = None,
    ) -> Report:
        """Send a file, or all below a folder, to the folder ``target_path``. What is there with the
        same content is left; what is there with other content is refused, before anything is sent,
        unless ``overwrite``. A symbolic link is refused, unless ``follow_links``."""
        place = Path(source)
        base = check_prefix(target_path)
        if place.is_dir():
            near = FolderFiles(place, links="follow" if follow_links else "refuse", is_source=True)
            items = list(near.list(""))
        else:
            # A link that is named itself is meant.
            near = FolderFiles(place.parent, links="follow", is_source=True)
            name = check_part(os.fsencode(place.name).decode(errors="surrogateescape"))
            items = list(near.list(name))
        if not items:
            raise MissingFileError(f"there is no file at {shown(str(source))}")
        pairs = [Pair(item, join(base, item.path)) for item in items]
        return transfer(
            near,
            self._files,
            pairs,
            replace=overwrite,
            on_progress=on_progress,
            stop=stop,
            waits_s=self._waits_s,
        )

    def download(
        self,
        target_path: Path | str,
        prefix: str = "",
        *,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
        stop: Event | None = None,
    ) -> Report:
        """Fetch the file ``prefix``, or all below the folder, into the folder ``target_path``, each
        to the path that it has in the datastore. The same rules as of ``upload``. Nothing is
        written outside that folder, whatever the server lists and whatever links are there."""
        place = Path(target_path)
        if place.exists() and not place.is_dir():
            raise ClashError(f"{shown(str(target_path))} is a file; name a folder")
        items = self.ls(prefix)
        if not items and prefix:
            raise MissingFileError(f"there is no {shown(prefix)} in the datastore {self.name}")
        near = FolderFiles(place, makes_root=True)
        wanted = sum(item.size_bytes for item in items if near.stat(item.path) is None)
        if wanted > near.free_bytes():
            raise FullError(
                f"{wanted} bytes do not fit on the disk of {shown(str(target_path))}; free some, or"
                " name a folder elsewhere"
            )
        return transfer(
            self._files,
            near,
            [Pair(item, item.path) for item in items],
            replace=overwrite,
            on_progress=on_progress,
            stop=stop,
            waits_s=self._waits_s,
        )

    def delete(self, path: str, *, recursive: bool = False) -> int:
        """The file, or, where ``recursive``, all below the folder; how many. Raises
        MissingFileError, ClashError for a folder that is not meant to go."""
        prefix = check_prefix(path)
        items = self.ls(prefix)
        if not items:
            raise MissingFileError(f"there is no {shown(path)} in the datastore {self.name}")
        if not recursive and [item.path for item in items] != [prefix]:
            raise ClashError(
                f"{shown(path)} is a folder with {len(items)} files; --recursive deletes them all",
                [item.path for item in items],
            )
        for item in items:
            with suppress(MissingFileError):  # somebody else did it, or a lost connection hid it
                tried(partial(self._files.delete, item.path), self._patience())
        return len(items)

    def _patience(self) -> Patience:
        return Patience(Event().wait, self._waits_s)

    def close(self) -> None:
        """The connection ends; the next use makes another."""
        self._files.close()
