"""The folder of one process instance, from the agent's side. Its lock is held by the launcher as
long as the instance runs, so that a restarted agent knows what runs without trusting a number.

<folder>/
  lock           held: it runs; has the launcher's number
  spec.json      what was asked for                      written here
  record.json    launcher and process, port              written by launcher.py
  end.json       exit code                               written by launcher.py
  log, log.1     what it printed, the older half in log.1
  room/          home, tmp, python: the process's own
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from edge.errors import HostError
from edge.hosts.port import Slot

LAUNCHER = Path(__file__).with_name("launcher.py")
NUMBER_BYTES = 20
LAUNCH_TIMEOUT_S = 30.0
LOCK_TIMEOUT_S = 2.0
"""Others hold the lock for a moment when they look."""
MARKER = "INFERRY_INSTANCE"
"""In the environment of an instance: its folder."""
T = TypeVar("T", bound=msgspec.Struct)


class Spec(msgspec.Struct, frozen=True):
    """What runs: first for whoever lists it, then for the launcher (which reads plain JSON).
    ``boot``: of the device, when it was started; ``cpus``: their numbers; ``user``: its number and
    its group's; ``cgroup``: a folder."""

    module: str
    slot: Slot
    digest: str
    fingerprint: str
    address: str
    port: int
    boot: str
    command: list[str]
    env: dict[str, str]
    cwd: str
    log_bytes: int
    memory_bytes: int | None
    processes: int | None
    cpus: list[int] | None
    user: tuple[int, int] | None
    cgroup: str | None


class Record(msgspec.Struct, frozen=True):
    """What the launcher tells at the start."""

    launcher: int
    pid: int
    started_at_s: float
    port: int | None = None


class Ending(msgspec.Struct, frozen=True):
    """What the launcher tells at the end."""

    exit_code: int
    is_out_of_memory: bool = False


class RunFolder:
    """One instance's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"RunFolder({self.path.name}, {'runs' if self.is_running() else 'ended'})"

    @property
    def room(self) -> Path:
        """A place for the process to write to."""
        return self.path / "room"

    def spec(self) -> Spec | None:
        """None: there is none, or a power cut took it."""
        return self._read("spec.json", Spec)

    def record(self) -> Record | None:
        """None: it was never started."""
        return self._read("record.json", Record)

    def ending(self) -> Ending | None:
        """None: it runs, or the machine or the launcher ended before it."""
        return self._read("end.json", Ending)

    def is_running(self) -> bool:
        """Whether the launcher lives."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def launch(self, spec: Spec) -> None:
        """Start it. Raises HostError when it runs, or cannot be run."""
        lock = self._locked()
        try:
            self._sweep()
            for name in ("end.json", "record.json"):
                (self.path / name).unlink(missing_ok=True)
            os.pwrite(lock, b" " * NUMBER_BYTES, 0)  # room for the launcher's number
            # It has the environment: what other modules run as could read it otherwise.
            write_whole(self.path / "spec.json", msgspec.json.encode(spec), mode=0o600)
            self._run_launcher(lock)
        finally:
            os.close(lock)

    def send(self, number: signal.Signals) -> bool:
        """To the launcher, which passes it on; False when it does not run."""
        with self._launcher() as launcher:
            if launcher is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(launcher, number)
            return True

    def wait_end(self, timeout_s: float) -> bool:
        """Whether it has ended within that time."""
        with self._launcher() as launcher:
            if launcher is None:
                return True
            return bool(select.select([launcher], [], [], max(timeout_s, 0.0))[0])

    def remove(self) -> None:
        """With all that is in it; what a killed launcher has left running is ended. Raises
        HostError when it runs."""
        if not self.path.exists():
            return
        lock = self._locked()
        try:
            self._sweep()
            trash = self.path.with_name(f".{self.path.name}-{os.getpid()}-{time.monotonic_ns()}")
            os.rename(self.path, trash)
        finally:
            os.close(lock)
        remove_tree(trash)

    def last_lines(self, lines: int) -> str:
        """Of what it printed."""
        found = b"".join(self._content(name) for name in ("log.1", "log"))
        return b"".join(found.splitlines(keepends=True)[-lines:]).decode(errors="replace")

    def _content(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _read(self, name: str, kind: type[T]) -> T | None:
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        return None

    def _locked(self) -> int:
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(handle)
                    raise HostError(f"{self.path.name} runs already") from None
                time.sleep(0.01)

    def _run_launcher(self, lock: int) -> None:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(self.path), str(lock)],
                pass_fds=(lock,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
                timeout=LAUNCH_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HostError(f"{self.path.name} could not be started: {_said(error)}") from error
        if done.returncode:
            (self.path / "spec.json").unlink(missing_ok=True)  # nothing is there to be listed
            why = " ".join(done.stdout.decode(errors="replace").split())[-300:]
            raise HostError(f"{self.path.name} could not be started: {why}")

    @contextlib.contextmanager
    def _launcher(self) -> Iterator[int | None]:
        """A handle of the launcher that lives. Whoever holds the lock after the handle was opened
        is the one that was meant: its number cannot be another's meanwhile."""
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while self.is_running():
            number = self._content("lock").strip()
            if number.isdigit():
                try:
                    handle = os.pidfd_open(int(number))
                except ProcessLookupError:
                    continue
                try:
                    yield handle if self.is_running() else None
                finally:
                    os.close(handle)
                return
            if time.monotonic() > deadline:  # it has just been forked, and is very slow
                raise HostError(f"{self.path.name} does not say who it is; try again")
            time.sleep(0.01)
        yield None

    def _sweep(self) -> None:
        """End what a launcher that was killed itself has left: rare, as the module goes with it."""
        if self.record() is None or self.ending() is not None:
            return
        marker = f"{MARKER}={self.path}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if marker in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), signal.SIGKILL)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """The file is the old one or the new one, whatever happens."""
    new = path.with_name(f".{path.name}")
    with new.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_tree(folder: Path) -> None:
    """Read-only folders too; what a link leads to stays."""
    for path, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _said(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {LAUNCH_TIMEOUT_S:.0f} s"
    return getattr(error, "strerror", None) or type(error).__name__
