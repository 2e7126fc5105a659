"""The datastores that a service has open: connected once for many requests, closed when nobody uses
them, and never more at once than there are places for.

async with opened.used(call, "lab") as store:
    item = await store.do(store.files.stat, "a/b")
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from registry import Workspace
from registry.datastores import Datastore as Record
from registry.paths import WorkspacePaths
from runtime.datastores.errors import MissingFileError
from runtime.datastores.folder import FolderFiles
from runtime.datastores.guard import Guard
from runtime.datastores.opening import open_files
from runtime.datastores.port import Files
from runtime.datastores.reach import Resolve
from runtime.workspace_service.faults import Fault

P = ParamSpec("P")
T = TypeVar("T")
AT_ONCE = 24
"""Requests. One that writes to S3 holds up to three parts of a file in memory."""
OF_ONE = 8
"""The same, of one datastore: a server that answers nobody holds up nobody else."""
OF_CLIENT = 12
"""The same, of one client: who reads slowly holds up others no more than that."""
MOST_OPEN = 32
IDLE_S = 60.0
WAIT_S = 10.0
TURN_S = 0.05


@dataclass(slots=True, eq=False)
class OpenDatastore:
    """One, while it is used. ``key`` is all that it was opened with."""

    record: Record
    files: Files
    key: object
    threads: ThreadPoolExecutor
    """Of all datastores."""
    users: int = 0
    idle_since: float = field(default_factory=time.monotonic)

    async def do(self, act: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
        """What ``act``, which waits for a disk or a server, returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: act(*args, **given))


class OpenDatastores:
    """Of all workspaces of one service; ``roots`` are their folders, which no datastore shows.
    ``resolve`` looks up servers that must be public."""

    def __init__(self, roots: Sequence[Path], resolve: Resolve) -> None:
        self._guard = Guard(tuple(roots))
        self._resolve = resolve
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="datastores")
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], OpenDatastore] = {}
        self._by_client: Counter[tuple[str, str]] = Counter()
        self._sweeper: threading.Timer | None = None

    def check_folder(self, path: Path) -> None:
        """Whether a folder of this machine may be a datastore of which files are moved. Raises
        DatastoreErrors."""
        with contextlib.suppress(MissingFileError):  # who attaches it says so
            next(FolderFiles(path, guard=self._guard).list(""), None)

    @asynccontextmanager
    async def used(
        self, workspace_name: str, workspace: Workspace, name: str, client: str
    ) -> AsyncIterator[OpenDatastore]:
        """This datastore, as it is attached now, once there is a place for one more request of this
        client. Raises NotFoundError, DatastoreErrors, and Fault 503 when there is none for too
        long."""
        loop, end = asyncio.get_running_loop(), time.monotonic() + WAIT_S
        record, secrets = await loop.run_in_executor(None, _attached, workspace, name)
        while True:
            found = await loop.run_in_executor(
                None, self._taken, workspace_name, workspace, record, secrets, client
            )
            if found is not None:
                break
            if time.monotonic() > end:
                raise Fault(
                    503,
                    "busy",
                    f"the datastore '{name}', or the service, is busy with as many files as it"
                    " takes at once; try again",
                    {"Retry-After": "5"},
                )
            await asyncio.sleep(TURN_S)
        try:
            yield found
        finally:
            self._left(found, (workspace_name, client))

    def close(self) -> None:
        """All connections end; what is asked all the same opens them again."""
        with self._lock:
            gone, self._open = list(self._open.values()), {}
            if self._sweeper is not None:
                self._sweeper.cancel()
            self._sweeper = None
        for each in gone:
            _close(each)

    def _taken(
        self,
        workspace_name: str,
        workspace: Workspace,
        record: Record,
        secrets: Mapping[str, bytes],
        client: str,
    ) -> OpenDatastore | None:
        """None where no place is free."""
        whose = (workspace_name, client)
        place = (workspace_name, record.name)
        key = (record.kind, dict(record.settings), dict(secrets), record.attached_at)
        old: list[OpenDatastore] = []  # closed at last: that may take as long as a server wants
        try:
            with self._lock:
                found = self._open.get(place)
                if found is not None and found.key != key:  # attached anew
                    del self._open[place]
                    if not found.users:
                        old.append(found)
                    found = None
                if self._by_client.total() >= AT_ONCE or self._by_client[whose] >= OF_CLIENT:
                    return None
                if found is not None and found.users >= OF_ONE:
                    return None
                if found is None:
                    if not self._made_room(old):
                        return None
                    files = open_files(
                        record,
                        secrets,
                        WorkspacePaths(workspace.root).datastore,
                        resolve=self._resolve,
                        guard=self._guard,
                    )
                    found = OpenDatastore(record, files, key, self._threads)
                    self._open[place] = found
                found.users += 1
                self._by_client[whose] += 1
                return found
        finally:
            for each in old:
                _close_beside(each)

    def _made_room(self, old: list[OpenDatastore]) -> bool:
        """Whether one more may be open; ``old`` gets the one that makes room."""
        if len(self._open) < MOST_OPEN:
            return True
        idle = [place for place, each in self._open.items() if not each.users]
        if not idle:
            return False
        oldest = min(idle, key=lambda place: self._open[place].idle_since)
        old.append(self._open.pop(oldest))
        return True

    def _left(self, found: OpenDatastore, whose: tuple[str, str]) -> None:
        with self._lock:
            found.users -= 1
            self._by_client[whose] -= 1
            self._by_client += Counter()  # forgets those who have none
            found.idle_since = time.monotonic()
            is_kept = found in self._open.values()
            if is_kept and self._sweeper is None:
                self._sweep_later()
        if not is_kept and not found.users:
            _close_beside(found)

    def _sweep_later(self) -> None:
        self._sweeper = threading.Timer(IDLE_S, self._sweep)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _sweep(self) -> None:
        """Close those that nobody used for IDLE_S."""
        before = time.monotonic() - IDLE_S
        with self._lock:
            gone = [p for p, e in self._open.items() if not e.users and e.idle_since <= before]
            old = [self._open.pop(place) for place in gone]
            self._sweeper = None
            if self._open:
                self._sweep_later()
        for each in old:
            _close(each)


def _attached(workspace: Workspace, name: str) -> tuple[Record, Mapping[str, bytes]]:
    record = workspace.datastores.get(name)
    return record, workspace.datastores.secrets(name)


def _close_beside(opened: OpenDatastore) -> None:
    threading.Thread(target=_close, args=(opened,), daemon=True).start()


def _close(opened: OpenDatastore) -> None:
    with contextlib.suppress(Exception):  # it is gone either way
        opened.files.close()
