"""Runs a program that may hang, print without end or start others, to its end or ours.

finished = run([python, "-m", "scoring.selftest", ...], environment=..., cwd=..., ...)
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import CancelledError, EngineError

POLL_S = 0.05
END_S = 3.0
"""For it to end what it has started, when it is told to leave."""
MAX_LINE_BYTES = 4096
KEPT_BYTES = 1024 * 1024
FILE_BYTES = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Finished:
    """``output`` is the end of what it printed to stdout; ``log`` to stderr."""

    exit_code: int
    output: str
    log: str
    is_timed_out: bool

    @property
    def ending(self) -> str:
        """In words."""
        if self.is_timed_out:
            return "it did not end in time"
        if self.exit_code < 0:
            return f"it was ended by {signal.Signals(-self.exit_code).name}"
        return f"it ended with exit code {self.exit_code}"


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    timeout_s: float,
    memory_bytes: int,
    on_line: Callable[[str], None],
    is_cancelled: Callable[[], bool],
    cpu_s: int | None = None,
) -> Finished:
    """``on_line`` hears of stderr. Raises CancelledError, and what ``on_line`` and
    ``is_cancelled`` raise, when the program and its group have ended; EngineError when it does not
    start. ``cpu_s``: of all its CPUs, then SIGXCPU ends it."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(f"no process could be started: {error.strerror}") from error
    _limit(process.pid, memory_bytes, cpu_s)
    said = _Said(on_line)
    is_timed_out = False
    try:
        is_timed_out = not _follow(process, said, time.monotonic() + timeout_s, is_cancelled)
    finally:
        _end(process)
    said.close()
    return Finished(process.returncode, said.output, said.log, is_timed_out)


def _follow(
    process: subprocess.Popen[bytes],
    said: _Said,
    deadline: float,
    is_cancelled: Callable[[], bool],
) -> bool:
    """Until it has ended and all it said is heard; False when it has not by ``deadline``."""
    with selectors.DefaultSelector() as selector, _watched(process.pid) as ended:
        assert process.stdout is not None
        assert process.stderr is not None
        selector.register(process.stdout, selectors.EVENT_READ, said.add_output)
        selector.register(process.stderr, selectors.EVENT_READ, said.add_log)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            if is_cancelled():
                raise CancelledError("the proof was cancelled")
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            ready = selector.select(min(left, POLL_S))
            for key, _ in ready:
                if key.data is None:
                    continue
                data = os.read(key.fd, 65536)
                if data:
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)
            if [key.fileobj for key, _ in ready] == [ended]:  # and nothing is left to read
                return True


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[int]:
    """A descriptor that can be read when the process has ended."""
    handle = os.pidfd_open(pid)
    try:
        yield handle
    finally:
        os.close(handle)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends its own children when it is asked to; then whoever is left in its group. Only then
    is its number given back, which is the group's too."""
    try:
        with _watched(process.pid) as ended:
            if not select.select([ended], [], [], 0)[0]:
                os.kill(process.pid, signal.SIGTERM)
                select.select([ended], [], [], END_S)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _limit(pid: int, memory_bytes: int, cpu_s: int | None) -> None:
    """Inherited by all that it starts, each with its own."""
    limits = {
        resource.RLIMIT_DATA: (memory_bytes, memory_bytes),
        resource.RLIMIT_FSIZE: (FILE_BYTES, FILE_BYTES),
        resource.RLIMIT_CORE: (0, 0),
    }
    if cpu_s is not None:
        limits[resource.RLIMIT_CPU] = (cpu_s, cpu_s + 5)  # at the second one it is killed
    for kind, value in limits.items():
        with contextlib.suppress(OSError, ValueError):  # it has ended, or has a lower one
            resource.prlimit(pid, kind, value)
    with contextlib.suppress(OSError):  # where memory runs out, it goes first
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


@dataclass(slots=True)
class _Said:
    """What it printed: whole lines of the log to ``on_line``."""

    on_line: Callable[[str], None]
    _output: bytearray = field(default_factory=bytearray)
    _log: bytearray = field(default_factory=bytearray)
    _rest: bytes = b""

    @property
    def output(self) -> str:
        return self._output.decode(errors="replace")

    @property
    def log(self) -> str:
        return self._log.decode(errors="replace")

    def add_output(self, data: bytes) -> None:
        self._output += data
        del self._output[:-KEPT_BYTES]

    def add_log(self, data: bytes) -> None:
        self._log += data
        del self._log[:-KEPT_BYTES]
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            self.on_line(line[:MAX_LINE_BYTES].decode(errors="replace"))

    def close(self) -> None:
        if self._rest:
            self.on_line(self._rest.decode(errors="replace"))
