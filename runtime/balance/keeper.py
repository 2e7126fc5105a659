"""Keeps one HAProxy running in a folder, with the files that it was given last.

    with Keeper(folder) as keeper:       # finds the HAProxy that runs there, if one does
        keeper.run(files)                # starts it, or has a new process take over
        keeper.store(files)              # for the next start only; the runtime API told it already
        keeper.apis()                    # of the process in force, and of those that still finish
        keeper.stop(grace_s=30)          # or leave: HAProxy goes on without its keeper

A new process takes the listening sockets of the one before (handover.py), is waited for until it
answers, and then the old one is told to finish: no connection is refused meanwhile. One that dies
is started again at once; the keeper holds its sockets too, so whoever connects in between waits.
(HAProxy's master could reload its worker as well; but when one of the two is killed both end, and
their ports close. So each run of HAProxy has a master of its own, and the keeper is above them.)

The folder, which only HAProxy's account can read:

    lock                   of the one keeper
    haproxy.cfg, maps/, certificates/, hold.lua
    master.N.sock          where the N-th run of HAProxy is told what to do
    listeners.N.sock       where it hands its listening sockets over
    NAME.again.sock        requests that found no server
    generation             N of the last one
    haproxy.log            what it says
    next/                  files that are checked before they replace the others
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from runtime.balance import handover
from runtime.balance.configuration import listeners_socket, master_socket
from runtime.balance.errors import BalanceError, FolderError, RuntimeApiError, StartError
from runtime.balance.handover import Giver, Held
from runtime.balance.process import Account, Process, Starter, usual_account
from runtime.balance.runtime_api import RuntimeApi

START_TIMEOUT_S = 10.0
HANDOVER = "handover.sock"
QUIET_S = 10.0
"""Who lived this long is started again at once when it dies."""
PAUSES_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
GIVE_UP_HOLDING = 5
"""Starts that failed in a row, until the ports are closed: refused is better than hanging."""

Told = Callable[[str], None]


class Keeper:
    """``account``: whom HAProxy runs as, by default never root. ``told`` gets a line for each thing
    that happens by itself, from a thread of the keeper's."""

    def __init__(
        self,
        folder: Path,
        *,
        command: str = "haproxy",
        account: Account | None = None,
        told: Told = lambda line: None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.folder = folder
        self._starter = Starter(folder, command, account or usual_account())
        self._told = told
        self._start_timeout_s = start_timeout_s
        self._guard = threading.RLock()
        self._lock_file = -1
        self._wake = (-1, -1)
        self._watcher: threading.Thread | None = None
        self._is_closing = False
        self._current: Process | None = None
        self._finishing: list[Process] = []
        self._held: Held | None = None
        self._started_s = 0.0

    def __repr__(self) -> str:
        return f"Keeper({str(self.folder)!r}, {self._current}, {len(self._finishing)} finishing)"

    def __enter__(self) -> Self:
        self._lock_file = _locked(self.folder, self._starter.account)
        try:
            self._adopt()
            self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._watcher = threading.Thread(target=self._watch, name="haproxy-keeper", daemon=True)
            self._watcher.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_closing = True
        self._wake_up()
        if self._watcher is not None:
            self._watcher.join()
        self._leave()

    @property
    def is_running(self) -> bool:
        """One is in force, and has not ended."""
        with self._guard:
            return self._current is not None and not self._current.has_ended()

    @property
    def pid(self) -> int | None:
        """Of the process in force."""
        with self._guard:
            return self._current.pid if self._current else None

    def run(self, files: Mapping[str, str]) -> None:
        """A process with these files is in force when it returns. Raises RefusedConfigError or
        StartError; then what ran before goes on, with its files."""
        with self._guard:
            self._check(files)
            kept = self._stored(files)
            self.store(files)
            try:
                self._replace()
            except StartError:
                self.store(kept)
                raise

    def check(self, files: Mapping[str, str]) -> None:
        """Raises RefusedConfigError with what HAProxy says of them."""
        with self._guard:
            self._check(files)

    def store(self, files: Mapping[str, str]) -> None:
        """For the next start, or for when the one in force dies."""
        with self._guard:
            for name, text in files.items():
                if self.read(name) != text:
                    self._write(self.folder, name, text)

    def read(self, name: str) -> str | None:
        """One of its files; None when there is none."""
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            return None

    def apis(self) -> tuple[RuntimeApi, ...]:
        """The one in force first; then those that finish what they had begun. Empty when nothing
        runs."""
        with self._guard:
            self._reap()
            current = [self._current.api] if self._current else []
            return (*current, *(process.api for process in self._finishing))

    def wait_finished(self, timeout_s: float) -> bool:
        """Until no process from before a reload is left."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._guard:
                self._reap()
                if not self._finishing:
                    return True
                one = self._finishing[0].descriptor
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                with contextlib.suppress(OSError):
                    select.select([one], [], [], min(left_s, 0.05))

    def stop(self, grace_s: float) -> None:
        """No new connections; what has begun may go on for ``grace_s``. Idempotent."""
        with self._guard:
            processes = [*([self._current] if self._current else []), *self._finishing]
            self._current, self._finishing = None, []
            self._release()
            self._wake_up()
            deadline = time.monotonic() + grace_s
            for process in processes:
                process.finish()
            for process in processes:
                if not process.has_ended(max(0.0, deadline - time.monotonic())):
                    process.kill()
                    process.has_ended(5)
                process.close()

    def _adopt(self) -> None:
        last = self._generation()
        for generation in range(max(1, last - 20), last + 1):
            process = self._starter.found(generation)
            if process is None:
                self._forget(generation)
                continue
            with contextlib.suppress(RuntimeApiError):
                if process.api.info().is_stopping or generation != last:
                    process.finish()
                    self._finishing.append(process)
                    continue
            self._current = process
            self._hold()

    def _replace(self) -> None:
        """A new process in the place of the current one, or of none."""
        before = self._current
        alive = before is not None and not before.has_ended()
        down = _down(before) if before is not None and alive else []
        process = self._start(before if alive else None)
        for server in down:
            with contextlib.suppress(RuntimeApiError):
                process.api.set_down(server)
        self._current, self._started_s = process, time.monotonic()
        self._hold()
        if before is not None:
            before.finish()
            self._finishing.append(before)
        self._wake_up()

    def _start(self, before: Process | None) -> Process:
        generation = self._generation() + 1
        self._write(self.folder, "generation", str(generation))
        if before is not None or self._held is None:
            inherit = listeners_socket(before.generation) if before is not None else None
            return self._starter.start(generation, inherit=inherit, timeout_s=self._start_timeout_s)
        ids = self._starter.account.ids
        with Giver(self._held, self.folder, HANDOVER, owner=ids[0] if ids else None):
            return self._starter.start(
                generation, inherit=HANDOVER, timeout_s=self._start_timeout_s
            )

    def _hold(self) -> None:
        assert self._current is not None
        self._release()
        with contextlib.suppress(RuntimeApiError):
            self._held = handover.receive(self.folder, listeners_socket(self._current.generation))

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def _reap(self) -> None:
        ended = [process for process in self._finishing if process.has_ended()]
        self._finishing = [process for process in self._finishing if process not in ended]
        for process in ended:
            process.close()
            self._forget(process.generation)

    def _forget(self, generation: int) -> None:
        for name in (master_socket(generation), listeners_socket(generation)):
            (self.folder / name).unlink(missing_ok=True)

    def _watch(self) -> None:
        failures = 0
        while not self._is_closing:
            self._starter.trim_log()
            with self._guard:
                self._reap()
                current = self._current
                descriptors = [process.descriptor for process in self._finishing]
                if current is not None:
                    descriptors.append(current.descriptor)
            with contextlib.suppress(OSError, ValueError):
                select.select([self._wake[0], *descriptors], [], [], 1.0)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake[0], 4096)
            with self._guard:
                if self._is_closing or self._current is None or not self._current.has_ended():
                    continue
                if time.monotonic() - self._started_s > QUIET_S:
                    failures = 0
                failures = self._restart(failures)
            if failures:
                self._pause(PAUSES_S[min(failures, len(PAUSES_S)) - 1])

    def _restart(self, failures: int) -> int:
        """How often it has failed in a row by now."""
        assert self._current is not None
        self._told(f"HAProxy (process {self._current.pid}) ended; it is started again")
        try:
            self._replace()
        except BalanceError as error:
            self._told(str(error))
            if failures + 1 == GIVE_UP_HOLDING:
                self._release()
        return failures + 1

    def _pause(self, seconds: float) -> None:
        with contextlib.suppress(OSError, ValueError):
            select.select([self._wake[0]], [], [], seconds)

    def _wake_up(self) -> None:
        if self._wake[1] >= 0:
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake[1], b"x")

    def _leave(self) -> None:
        self._release()
        for process in [*([self._current] if self._current else []), *self._finishing]:
            process.close()
        self._current, self._finishing = None, []
        for descriptor in (*self._wake, self._lock_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake, self._lock_file = (-1, -1), -1

    def _check(self, files: Mapping[str, str]) -> None:
        folder = self.folder / "next"
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in files.items():
            self._write(folder, name, text)
        try:
            self._starter.check(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _stored(self, names: Mapping[str, str]) -> dict[str, str]:
        return {name: text for name in names if (text := self.read(name)) is not None}

    def _generation(self) -> int:
        text = self.read("generation") or "0"
        return int(text) if text.isdecimal() else 0

    def _write(self, folder: Path, name: str, text: str) -> None:
        """Whole or not at all; for HAProxy's account only."""
        parts = PurePosixPath(name).parts
        _own_folder(folder, self._starter.account)
        for depth in range(1, len(parts)):
            _own_folder(folder.joinpath(*parts[:depth]), self._starter.account)
        path = folder / name
        new = path.with_name(f".{path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            if (ids := self._starter.account.ids) is not None:
                os.fchown(file.fileno(), *ids)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)


def _down(process: Process) -> list[str]:
    """Servers that should work and do not: the next process would believe that they do."""
    try:
        servers = process.api.stats().servers
    except RuntimeApiError:
        return []
    return ["/".join(one.key) for one in servers if one.admin == "ready" and not one.is_up]


def _locked(folder: Path, account: Account) -> int:
    _own_folder(folder, account)
    folder.chmod(0o700)
    _require_way(folder.resolve(), account)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise FolderError(f"{folder} belongs to another keeper, which runs") from None
    return descriptor


def _own_folder(folder: Path, account: Account) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if (ids := account.ids) is not None:
            os.chown(folder, *ids)
    except OSError as error:
        raise FolderError(f"cannot use the folder {folder}: {error.strerror}") from None


def _require_way(folder: Path, account: Account) -> None:
    """HAProxy must be able to walk to its folder."""
    ids = account.ids
    if ids is None or ids[0] == 0:
        return
    for parent in folder.parents:
        found = parent.stat()
        bit = 0o100 if found.st_uid == ids[0] else 0o010 if found.st_gid == ids[1] else 0o001
        if not found.st_mode & bit:
            raise FolderError(
                f"HAProxy's account '{account.name}' cannot enter {parent}; choose a folder for it "
                "elsewhere, such as under /run, or another account"
            )
