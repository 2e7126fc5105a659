"""A command: a program of this machine, without a shell, that does not outlive its deadline.

It is the leader of a process group of its own. When it ends, or its time is over, the whole group
is killed; what left the group (setsid) is not ours to find. Of what it prints the last bytes are
kept.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runtime.hooks.answer import MOST_SAID, Answer, Result, line

NOT_NOW = 75
"""Exit status "not now", EX_TEMPFAIL of sysexits.h."""
KEPT_BYTES = 4096
PIECE_BYTES = 65_536
TERM_S = 1.0
"""Between SIGTERM and SIGKILL."""
END_S = 2.0
LOOK_S = 0.05
LINES = 3
"""Of what it printed last, as people see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``stdin``: what it reads; ``environ``: all of its environment; ``may_veto``: status 75 means
    "not now"."""

    arguments: Sequence[str]
    stdin: bytes
    environ: Mapping[str, str]
    may_veto: bool = False


def run(
    command: Command, timeout_s: float, is_ending: Callable[[], bool] = lambda: False
) -> Answer:
    """Blocking, for a moment more than ``timeout_s`` at most. ``is_ending``: it has END_S from now
    on, as the controller ends. Never raises for what the program is or does."""
    began_s = time.monotonic()
    try:
        process = _started(command)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return Answer(Result.FAILED, f"it cannot be started: {line(why or '')}")
    with process:
        assert process.stdout is not None
        try:
            is_late, printed = _watched(
                process, process.stdout.fileno(), began_s + timeout_s, is_ending
            )
        finally:
            _kill(process, signal.SIGKILL)  # also whoever it left behind in its group
    return _answer(command, process.returncode, is_late, printed, time.monotonic() - began_s)


def _started(command: Command) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as stdin:  # a pipe that nobody reads would have to be waited for
        stdin.write(command.stdin)
        stdin.seek(0)
        return subprocess.Popen(
            list(command.arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd="/",
            env=dict(command.environ),
            start_new_session=True,
        )


def _watched(
    process: subprocess.Popen[bytes], output: int, deadline: float, is_ending: Callable[[], bool]
) -> tuple[bool, bytes]:
    """Until it ends or its time is over. A child of its own may hold the output open: its end is
    no sign of anything."""
    os.set_blocking(output, False)
    kept, is_late, has_little, term_s = b"", False, False, float("inf")
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while not _has_ended(process):
            now_s = time.monotonic()
            if not has_little and is_ending():
                has_little, deadline = True, min(deadline, now_s + END_S)
            if now_s >= deadline and not is_late:
                is_late, term_s = True, now_s + TERM_S
                _kill(process, signal.SIGTERM)
            if now_s >= term_s:
                break
            if selector.select(LOOK_S):
                piece = _read(output)
                kept = (kept + piece)[-KEPT_BYTES:]
                if not piece:
                    time.sleep(LOOK_S)  # it has closed its output, which is always ready then
    kept = (kept + _read(output))[-KEPT_BYTES:]
    return is_late, kept


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Without letting go of its process id: its group could become another's before it is
    killed."""
    found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _read(output: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(output, PIECE_BYTES)
    return b""


def _kill(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """The whole group; its leader is not waited for yet, so that the number is its own."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _answer(command: Command, status: int, is_late: bool, printed: bytes, took_s: float) -> Answer:
    words = line(b" | ".join(printed.strip().splitlines()[-LINES:])[-MOST_SAID:])
    tail = f": {words}" if words else ""
    if is_late:
        return Answer(Result.TIMEOUT, f"it did not end in time, and was killed{tail}", took_s)
    if status == 0:
        return Answer(Result.OK, words, took_s)
    if status == NOT_NOW and command.may_veto:
        return Answer(Result.NOT_NOW, words or "not now", took_s)
    how = f"signal {-status} ended it" if status < 0 else f"it ended with exit code {status}"
    return Answer(Result.FAILED, f"{how}{tail}", took_s)
