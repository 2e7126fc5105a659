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
    haproxy.log            what it says
    next/                  files that are checked before they replace the others
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.balance import handover
from runtime.balance.configuration import listeners_socket, master_socket
from runtime.balance.errors import BalanceError, RuntimeApiError, StartError
from runtime.balance.folder import Folder
from runtime.balance.handover import Giver, Held
from runtime.balance.process import Account, Process, Starter, usual_account, wait
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
        account = account or usual_account()
        self.folder = folder
        self._files = Folder(folder, account)
        self._starter = Starter(folder, command, account)
        self._told = told
        self.restarts = 0
        """How often HAProxy ended by itself, since this object is there."""
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
        self._lock_file, self._is_closing = self._files.lock(), False
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
    def has_ports(self) -> bool:
        """What was listened on is held, by HAProxy or, when that has died, for the next."""
        with self._guard:
            return self.is_running or self._held is not None

    @property
    def pid(self) -> int | None:
        """Of the process in force."""
        with self._guard:
            return self._current.pid if self._current else None

    def run(self, files: Mapping[str, str]) -> None:
        """A process with these files is in force when it returns. Raises RefusedConfigError or
        StartError; then what ran before goes on, with its files."""
        with self._guard:
            self.check(files)
            kept = {name: text for name in files if (text := self.read(name)) is not None}
            self.store(files)
            try:
                self._replace()
            except StartError:
                self.store(kept)
                raise

    def check(self, files: Mapping[str, str]) -> None:
        """Raises RefusedConfigError with what HAProxy says of them."""
        with self._guard, self._files.staged(files) as folder:
            self._starter.check(folder)

    def store(self, files: Mapping[str, str]) -> None:
        """For the next start, or for when the one in force dies."""
        with self._guard:
            self._files.store(files)

    def keep_only(self, names: Collection[str], *folders: str) -> None:
        """Of the files in these folders; the others are removed."""
        with self._guard:
            self._files.keep_only(names, *folders)

    def read(self, name: str) -> str | None:
        """One of its files; None when there is none."""
        return self._files.read(name)

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
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                self._finishing[0].has_ended(min(left_s, 0.05))

    def stop(self, grace_s: float) -> None:
        """No new connections; what has begun may go on for ``grace_s``. Its ports are free when it
        returns. Idempotent."""
        with self._guard:
            processes = [*([self._current] if self._current else []), *self._finishing]
            self._current, self._finishing = None, []
            self._release()
            self._wake_up()
            deadline = time.monotonic() + grace_s
            for process in processes:
                process.finish()
            for process in processes:
                process.has_ended(max(0.0, deadline - time.monotonic()))
                process.kill()
                process.close()
                self._forget(process.generation)

    def clear(self) -> None:
        """Nothing is left in its folder, if nothing runs; the folder goes with the keeper."""
        with self._guard:
            if self._current is None and not self._finishing:
                self._files.clear()

    def _adopt(self) -> None:
        """The last run that takes connections is in force; older ones are to finish."""
        for generation in self._files.generations():
            process = self._starter.found(generation)
            if process is None:
                self._forget(generation)
            elif self._current is None and not _is_stopping(process):
                self._current = process
                self._hold()
            else:
                process.finish()
                self._finishing.append(process)

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
        generation = max(self._files.generations(), default=0) + 1
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
            process.kill()
            process.close()
            self._forget(process.generation)

    def _forget(self, generation: int) -> None:
        self._files.remove(master_socket(generation), listeners_socket(generation))

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
            wait([self._wake[0], *descriptors], 1.0)
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
        self.restarts += 1
        self._told(f"HAProxy (process {self._current.pid}) ended; it is started again")
        self._current.kill()
        try:
            self._replace()
        except BalanceError as error:
            self._told(str(error))
            if failures + 1 == GIVE_UP_HOLDING:
                self._release()
        return failures + 1

    def _pause(self, seconds: float) -> None:
        wait([self._wake[0]], seconds)

    def _wake_up(self) -> None:
        if self._wake[1] >= 0:
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake[1], b"x")

    def _leave(self) -> None:
        self._release()
        for process in [*([self._current] if self._current else []), *self._finishing]:
            process.close()
        self._current, self._finishing = None, []
        if self._lock_file >= 0:
            self._files.remove_if_clear()
        for descriptor in (*self._wake, self._lock_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake, self._lock_file = (-1, -1), -1


def _is_stopping(process: Process) -> bool:
    try:
        return process.api.info().is_stopping
    except RuntimeApiError:
        return True


def _down(process: Process) -> list[str]:
    """Servers that should work and do not: the next process would believe that they do."""
    try:
        servers = process.api.stats().servers
    except RuntimeApiError:
        return []
    return ["/".join(one.key) for one in servers if one.admin == "ready" and not one.is_up]
