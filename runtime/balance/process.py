"""One run of HAProxy, a master and its worker: how it starts, that it answers, and how it ends.

It is a session of its own and outlives whoever started it: requests go on while a controller is
away. Who comes later finds it by its command socket (``found``). Signals go through a descriptor of
the process (pidfd), so never to another one that has its number by now.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.balance import configuration
from runtime.balance.errors import (
    BalanceError,
    NoHaproxyError,
    RefusedConfigError,
    RuntimeApiError,
    StartError,
)
from runtime.balance.runtime_api import RuntimeApi

LOG = "haproxy.log"
LOG_BYTES = 4 << 20
CHECK_TIMEOUT_S = 30.0
POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Account:
    """Whom HAProxy runs as; None: as whoever starts it."""

    name: str | None = None

    @property
    def ids(self) -> tuple[int, int] | None:
        """User and group. Raises BalanceError when there is no such account."""
        if self.name is None:
            return None
        try:
            entry = pwd.getpwnam(self.name)
        except KeyError:
            raise BalanceError(f"there is no account '{self.name}' for HAProxy") from None
        return entry.pw_uid, entry.pw_gid


def usual_account() -> Account:
    """Never root: HAProxy's own account where it has one, else nobody."""
    if os.geteuid() != 0:
        return Account()
    for name in ("haproxy", "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return Account(name)
    return Account()


@dataclass(slots=True)
class Process:
    """``pid``: the master's, which ends with its worker, as that does with it, a moment later;
    ``generation``: its number in its folder, which names its sockets; ``workers``: descriptors."""

    pid: int
    generation: int
    api: RuntimeApi
    descriptor: int
    workers: list[int] = field(default_factory=list)

    def has_ended(self, timeout_s: float = 0) -> bool:
        """Waits until it has, ``timeout_s`` at most."""
        has_ended = wait([self.descriptor], timeout_s)
        if has_ended:
            with contextlib.suppress(ChildProcessError):  # who started it has to see it off
                os.waitid(os.P_PIDFD, self.descriptor, os.WEXITED | os.WNOHANG)
        return has_ended

    def finish(self) -> None:
        """It takes no new connection, and ends when what it had has ended."""
        self._signal(signal.SIGUSR1)

    def kill(self, timeout_s: float = 5.0) -> bool:
        """At once, master and worker: whether both have left their ports, within that time. Also of
        a master that has ended, whose worker may have its ports still."""
        deadline = time.monotonic() + timeout_s
        for descriptor in (self.descriptor, *self.workers):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        left = [wait([each], max(0.0, deadline - time.monotonic())) for each in self.workers]
        return self.has_ended(max(0.0, deadline - time.monotonic())) and all(left)

    def close(self) -> None:
        """Of one that has ended, or that should go on. Idempotent."""
        for descriptor in (self.descriptor, *self.workers):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor, self.workers = -1, []

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts processes in one folder. ``command``: the program."""

    folder: Path
    command: str = "haproxy"
    account: Account = field(default_factory=Account)

    def check(self, folder: Path) -> None:
        """Raises RefusedConfigError with what HAProxy says of the files there."""
        user, group = self.account.ids or (None, None)
        try:
            done = subprocess.run(
                [self.command, "-c", "-f", configuration.FILE],
                cwd=folder,
                env=_environment(0),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CHECK_TIMEOUT_S,
                check=False,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        except (FileNotFoundError, PermissionError) as error:
            raise _not_started(error, self.command, folder) from None
        except subprocess.TimeoutExpired:
            raise RefusedConfigError("HAProxy did not check its configuration in time") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")
            raise RefusedConfigError(f"HAProxy refuses its configuration: {complaint(said)}")

    def start(self, generation: int, *, inherit: str | None, timeout_s: float) -> Process:
        """Returns once it answers. ``inherit``: the socket where it gets the listening sockets of
        the one before. Raises StartError."""
        user, group = self.account.ids or (None, None)
        name = configuration.master_socket(generation)
        master = f"unix@./{name},mode,600"
        options = [] if inherit is None else ["-x", f"./{inherit}"]
        path = self.folder / LOG
        self.trim_log()
        with path.open("ab") as log:
            before = log.tell()
            try:
                child = subprocess.Popen(
                    [self.command, "-W", "-S", master, "-f", configuration.FILE, *options],
                    cwd=self.folder,
                    env=_environment(generation),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=user,
                    group=group,
                    extra_groups=None if user is None else [],
                )
            except (FileNotFoundError, PermissionError) as error:
                raise _not_started(error, self.command, self.folder) from None
        api = RuntimeApi(self.folder, name)
        process = Process(child.pid, generation, api, os.pidfd_open(child.pid))
        child.returncode = 0  # it may outlive us: Popen is not to warn of that
        if not _answers(process, timeout_s):
            process.workers = _children(child.pid)
            process.kill()
            process.close()
            with path.open("rb") as log:
                log.seek(before)
                said = log.read(100_000).decode(errors="replace")
            raise StartError(f"HAProxy did not start: {complaint(said)}")
        process.workers = _children(child.pid)
        return process

    def trim_log(self) -> None:
        """HAProxy appends to it for as long as it lives: too long a one begins anew."""
        path = self.folder / LOG
        with contextlib.suppress(OSError):
            if path.stat().st_size > LOG_BYTES:
                os.truncate(path, 0)

    def found(self, generation: int) -> Process | None:
        """The one that runs in this folder with that number, if it does."""
        api = RuntimeApi(self.folder, configuration.master_socket(generation))
        descriptor = -1
        try:
            pid = api.master_pid()
            descriptor = os.pidfd_open(pid)
            if api.master_pid() == pid:  # still: so the descriptor is of this process
                return Process(pid, generation, api, descriptor, _children(pid))
        except (RuntimeApiError, OSError):
            pass
        if descriptor >= 0:
            os.close(descriptor)
        return None


def wait(descriptors: Sequence[int], timeout_s: float) -> bool:
    """Until one can be read (a process's: until it has ended); False when none could in time."""
    poll = select.poll()  # select() fails above descriptor 1023
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _children(pid: int) -> list[int]:
    """Descriptors of a master's workers, which stay the same as long as it lives."""
    found = []
    with contextlib.suppress(OSError):
        for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(int(number))
                if _parent(number) == pid:  # still: so the descriptor is of its child
                    found.append(descriptor)
                else:
                    os.close(descriptor)
    return found


def _parent(number: str) -> int:
    """After the name, which may hold anything."""
    try:
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def complaint(said: str) -> str:
    """The first alert in what HAProxy wrote, on one line."""
    lines = [line.strip() for line in said.splitlines()]
    alerts = [line for line in lines if line.startswith("[ALERT]")]
    chosen = (alerts or [line for line in lines if line] or ["it said nothing"])[0]
    return " ".join(chosen.partition(" : ")[2].split() or chosen.split())[:300]


def _answers(process: Process, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.has_ended(POLL_S):
            return False
        with contextlib.suppress(RuntimeApiError):
            return not process.api.info().is_stopping
    return False


def _environment(generation: int) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "GENERATION": str(generation)}


def _not_started(error: OSError, command: str, folder: Path) -> BalanceError:
    if isinstance(error, PermissionError):
        return StartError(f"HAProxy's account cannot run '{command}' in {folder}: {error.strerror}")
    return NoHaproxyError(f"'{command}' is not installed; as root: apt-get install haproxy")
