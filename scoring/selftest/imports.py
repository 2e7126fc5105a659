"""Whether packages import: in a process of their own, so that one that crashes is seen and named.

After a crash the next process goes on with the name behind it. They share a process as long as
none crashes: each that imports numpy again would take its time again.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import MutableMapping, Sequence

from scoring.selftest.child_log import ChildLog, LogCopy

LAST_WORDS_S = 1.0
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def check_imports(
    names: Sequence[str],
    found: MutableMapping[str, str | None],
    copy: LogCopy,
    deadline: float,
) -> None:
    """Fill ``found``: for each name None, or why it does not import."""
    waiting = list(dict.fromkeys(names))
    while waiting:
        ending = _import(waiting, found, copy, deadline)
        waiting = [name for name in waiting if name not in found]
        if waiting:  # the first of them was under way
            found[waiting.pop(0)] = ending


def _import(
    names: Sequence[str],
    found: MutableMapping[str, str | None],
    copy: LogCopy,
    deadline: float,
) -> str:
    """Start a process that imports ``names`` in turn; how it ended, in words."""
    reading, writing = os.pipe()
    log = ChildLog(copy)
    command = [sys.executable, "-P", "-m", "scoring.selftest.importer", str(writing), *names]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log.write_end,
            stderr=log.write_end,
            pass_fds=[writing],
            env={**ONE_THREAD, **os.environ},
        )
    except OSError as error:
        os.close(reading)
        return f"no process could be started: {error.strerror}"
    finally:
        os.close(writing)
        log.started()
    with process:
        try:
            _read(reading, found, deadline)
            code = process.wait(max(deadline - time.monotonic(), 0.01))
        except (TimeoutError, subprocess.TimeoutExpired):
            process.kill()
            return "it did not end in time"
        finally:
            os.close(reading)
    log.wait(LAST_WORDS_S)
    return f"its process {ended(code)}"


def _read(reading: int, found: MutableMapping[str, str | None], deadline: float) -> None:
    """Until the process closes the pipe. Raises TimeoutError at ``deadline``."""
    rest = b""
    while True:
        readable, _, _ = select.select([reading], [], [], max(deadline - time.monotonic(), 0))
        if not readable:
            raise TimeoutError
        data = os.read(reading, 65536)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            name, _, why = line.decode(errors="replace").partition("\t")
            found[name] = why or None


def ended(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
