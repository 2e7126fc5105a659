"""This machine: processes of their own, which end with this one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from runtime.submission.errors import LostError, PlaceError
from runtime.submission.places.port import Chunks, Stream, Traits
from runtime.submission.places.unpacking import unpack

READ_BYTES = 256 * 1024
END_S = 30.0
"""For the supervisor to end what it runs."""
TRAITS = Traits(python=sys.executable, is_attached=True)
KNOWN = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
        *("JAVA_HOME", "SPARK_HOME", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE"),
    )
)
"""Variables of this process that a script of someone else gets, with LC_* and XDG_*: the others may
be secrets of a service."""


class LocalPlace:
    """``folder``: a new one. ``traits``: what is different, as for Spark. ``is_bare``: the script
    gets only those variables of this process that say where things are."""

    def __init__(self, folder: Path, traits: Traits = TRAITS, *, is_bare: bool = False) -> None:
        self._folder = folder
        self._environment = bare(os.environ) if is_bare else None
        self._supervisor: subprocess.Popen[bytes] | None = None
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        self.traits = replace(traits, cache=f"{cache}/inferry/environments")

    def __repr__(self) -> str:
        return f"LocalPlace({str(self._folder)!r})"

    def put(self, chunks: Chunks) -> None:
        """Unpack it."""
        try:
            unpack(chunks, self._folder)
        except OSError as error:
            raise PlaceError(f"the run's folder cannot be written: {error.strerror}") from error

    def start(self) -> None:
        """The supervisor holds the other end of a pipe, and so knows when this process ends."""
        self._supervisor = self._popen("run")

    def follow(self) -> Stream:
        """A process that reads the folder."""
        if not self._folder.is_dir():
            raise PlaceError("the run's folder is gone")
        return PipeStream(self._popen("follow"))

    def gone(self) -> str | None:
        """The follower says how a supervisor ended."""
        return None if self._folder.is_dir() else "the run's folder is gone"

    def remove(self) -> None:
        """End the supervisor, which ends all else."""
        if self._supervisor is not None:
            assert self._supervisor.stdin is not None
            with suppress(OSError):
                self._supervisor.stdin.close()
            try:
                self._supervisor.wait(END_S)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self._supervisor.pid, signal.SIGKILL)
                self._supervisor.wait()
            self._supervisor = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Nothing is open."""

    def _popen(self, program: str) -> subprocess.Popen[bytes]:
        out = subprocess.PIPE if program == "follow" else subprocess.DEVNULL
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(self._folder / "agent.py"), program],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is not for it
            )
        except OSError as error:
            raise PlaceError(f"no process can be started: {error.strerror}") from error


def bare(environment: Mapping[str, str]) -> dict[str, str]:
    """What of it says where things are. Pure."""
    return {
        name: value
        for name, value in environment.items()
        if name in KNOWN or name.startswith(("LC_", "XDG_"))
    }


class PipeStream:
    """A process on this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def read(self) -> bytes:
        """More of its output."""
        with suppress(OSError, ValueError):
            return os.read(self._stdout.fileno(), READ_BYTES)
        return b""

    def write(self, data: bytes) -> None:
        """To its input."""
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (OSError, ValueError) as error:
            raise LostError("the process that follows the run has ended") from error

    def close(self) -> None:
        """It ends, and then its output does."""
        with suppress(OSError, ValueError):
            self._stdin.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(OSError, ValueError):
            self._stdout.close()
