"""Keeps one mirror for each service that has a shadow. They go on when the controller ends, and the
next one finds them.

    mirrors = Mirrors(folder, told=print)
    mirrors.keep({"web"})          # again and again: starts what is missing, or has died
    mirrors.end_others({"web"})    # once HAProxy sends the others nothing more
    mirrors.close()                # they go on

Nothing here waits: while a mirror is away HAProxy sends requests straight to the replicas. Who
listens at a mirror's socket is the mirror, so its process is found by that; signals go through a
descriptor of the process (pidfd), so never to another one that has its number by now.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from runtime.balance.mirror import CHECK_PATH, mirror_socket
from runtime.balance.process import Account, usual_account, wait
from runtime.balance.runtime_api import connect
from runtime.shadow.account import environment, may_run
from runtime.shadow.log import LogFile, last_line
from runtime.shadow.names import counts_file, counts_socket, lock_file, log_file

PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
QUIET_S = 10.0
"""Who lived this long is started again at once when it dies."""
HUNG_S = 5.0
"""Who answers no check for so long is killed: requests that it has fail then, and end."""
CHECK_S = 1.0
AS_ANOTHER = 2
"""Who died so often at once as HAProxy's account is started as the controller's."""
_ASK = f"GET {CHECK_PATH} HTTP/1.1\r\nhost: inferry\r\n\r\n".encode()
_CREDENTIALS = struct.Struct("3i")


@dataclass(slots=True)
class _Mirror:
    """One process. ``checked_s``: when it answered last; ``check``: one that it has not answered
    yet."""

    pid: int
    descriptor: int
    started_s: float
    checked_s: float
    asked_s: float
    failures: int = 0
    check: socket.socket | None = None

    def has_ended(self) -> bool:
        if not wait([self.descriptor], 0):
            return False
        with contextlib.suppress(ChildProcessError):  # who started it has to see it off
            os.waitid(os.P_PIDFD, self.descriptor, os.WEXITED | os.WNOHANG)
        return True

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def close(self) -> None:
        if self.check is not None:
            self.check.close()
            self.check = None
        os.close(self.descriptor)


class Mirrors:
    """Of one HAProxy's folder. Not for several threads at once."""

    def __init__(
        self,
        folder: Path,
        *,
        account: Account | None = None,
        told: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._account, self._told, self._clock = account, told, clock
        self._alive: dict[str, _Mirror] = {}
        self._ending: dict[str, list[_Mirror]] = {}
        self._again: dict[str, tuple[float, int]] = {}
        """When one that died may be started again, and how often it has died in a row."""

    def __repr__(self) -> str:
        return f"Mirrors({str(self.folder)!r}, {sorted(self._alive)})"

    def pid(self, service: str) -> int | None:
        """Of its mirror; None where there is none."""
        return self._alive[service].pid if service in self._alive else None

    def keep(self, services: Collection[str]) -> None:
        """Each has a mirror, or will have one soon."""
        now_s = self._clock()
        for service in services:
            mirror = self._alive.get(service) or self._found(service, now_s)
            if mirror is not None and mirror.has_ended():
                self._bury(service, mirror, now_s)
            if service in self._alive:
                self._check(service, self._alive[service], now_s)
            elif now_s >= self._again.get(service, (now_s, 0))[0]:
                self._start(service, now_s)

    def end_others(self, services: Collection[str]) -> None:
        """Their requests end first. Of those that have ended no file stays."""
        for service in {*self._alive, *self._left()} - set(services):
            self._again.pop(service, None)
            mirror = self._alive.pop(service, None) or self._adopted(service, 0.0)
            if mirror is not None:
                mirror.signal(signal.SIGTERM)
                self._ending.setdefault(service, []).append(mirror)
                self._alive.pop(service, None)
        for service, mirrors in list(self._ending.items()):
            for mirror in [each for each in mirrors if each.has_ended()]:
                mirror.close()
                mirrors.remove(mirror)
            if not mirrors:
                del self._ending[service]
        for service in self._left() - {*services, *self._alive, *self._ending}:
            self._forget(service)

    def close(self) -> None:
        """Of this object only."""
        for mirror in [*self._alive.values(), *(m for each in self._ending.values() for m in each)]:
            mirror.close()
        self._alive.clear()
        self._ending.clear()

    def _found(self, service: str, now_s: float) -> _Mirror | None:
        """One that an earlier controller started."""
        if service in self._again:
            return None
        mirror = self._adopted(service, now_s)
        if mirror is not None:
            self._alive[service] = mirror
        return mirror

    def _adopted(self, service: str, now_s: float) -> _Mirror | None:
        descriptor = -1
        try:
            pid = _listener(self.folder, service)
            descriptor = os.pidfd_open(pid)
            if _listener(self.folder, service) == pid:  # still: the descriptor is of this process
                return _Mirror(pid, descriptor, now_s, now_s, now_s)
        except OSError:
            pass
        if descriptor >= 0:
            os.close(descriptor)
        return None

    def _start(self, service: str, now_s: float) -> None:
        failures = self._again.get(service, (now_s, 0))[1]
        ids = (self._account or usual_account()).ids
        if ids is not None and (failures >= AS_ANOTHER or not may_run(ids)):
            ids = None  # as the controller: that can, at least
        try:
            with LogFile(self.folder / log_file(service)) as log:
                child = subprocess.Popen(
                    [sys.executable, "-P", "-m", "runtime.shadow", str(self.folder), service],
                    env=environment(),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=ids[0] if ids else None,
                    group=ids[1] if ids else None,
                    extra_groups=[] if ids else None,
                )
        except OSError as error:
            self._told(f"the mirror of {service} does not start: {error.strerror}")
            self._again[service] = (now_s + PAUSES_S[-1], 0)
            return
        self._again.pop(service, None)
        self._alive[service] = _Mirror(
            child.pid, os.pidfd_open(child.pid), now_s, now_s, now_s, failures
        )
        child.returncode = 0  # it may outlive us: Popen is not to warn of that

    def _bury(self, service: str, mirror: _Mirror, now_s: float) -> None:
        mirror.close()
        del self._alive[service]
        failures = 1 if now_s - mirror.started_s > QUIET_S else mirror.failures + 1
        self._again[service] = (now_s + PAUSES_S[min(failures, len(PAUSES_S)) - 1], failures)
        words = last_line(self.folder / log_file(service))
        self._told(
            f"the mirror of {service} ended{f' ({words})' if words else ''}; it is started again,"
            " and requests go straight to the replicas meanwhile"
        )

    def _check(self, service: str, mirror: _Mirror, now_s: float) -> None:
        """One question at a time, whose answer is read the next time."""
        if mirror.check is not None:
            try:
                is_well = mirror.check.recv(64).startswith(b"HTTP/1.1 200")
            except BlockingIOError:
                is_well = False
            except OSError:
                is_well = False
                mirror.check.close()
                mirror.check = None
            if is_well:
                mirror.checked_s = now_s
            if mirror.check is not None and (is_well or now_s - mirror.asked_s > CHECK_S):
                mirror.check.close()
                mirror.check = None
        if mirror.check is None and (now_s - mirror.asked_s >= CHECK_S or not mirror.asked_s):
            mirror.asked_s = now_s
            mirror.check = self._asked(service)
        if now_s - mirror.checked_s > HUNG_S:
            self._told(f"the mirror of {service} (process {mirror.pid}) hangs; it is killed")
            mirror.checked_s = now_s
            mirror.signal(signal.SIGKILL)

    def _asked(self, service: str) -> socket.socket | None:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.setblocking(False)
            connect(link, self.folder, mirror_socket(service))
            link.send(_ASK)
        except OSError:
            link.close()
            return None
        return link

    def _left(self) -> set[str]:
        """Services of which there is something in the folder."""
        suffix = mirror_socket("")
        with contextlib.suppress(OSError):
            return {path.name.removesuffix(suffix) for path in self.folder.glob(f"*{suffix}")}
        return set()

    def _forget(self, service: str) -> None:
        names = (counts_socket, counts_file, lock_file, log_file, mirror_socket)
        for name in names:
            for path in (self.folder / name(service), self.folder / f"{name(service)}.new"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


def _listener(folder: Path, service: str) -> int:
    """The process that listens at a mirror's socket. Raises OSError where there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.setblocking(False)
        connect(link, folder, mirror_socket(service))
        found = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, _, _ = _CREDENTIALS.unpack(found)
    return int(pid)
