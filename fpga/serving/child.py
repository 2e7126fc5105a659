"""The process that drives the board, as the server sees it: started, asked, ended.

    child = Child.start(Launch(python, folder, "emulated", environ), artifact)
    child.await_ready(60.0)
    beats = child.run(payloads)                 # raises Lost, Unsound or another FpgaError
    said = child.end()

What it sends is checked, and it has a deadline for everything. One run at a time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fpga.artifact import Artifact
from fpga.driver.session import LEAST_DEADLINE_S, SLACK
from fpga.errors import BoardError, FpgaError
from fpga.serving import boot, frames
from fpga.serving.frames import COUNTS, Counts, FrameError

Array = Any
LEAVE_S = 2.0
"""How long it may take to close the board after its socket was closed."""
DIE_S = 5.0
SLOWEST_CLOCK_S = 1e-3
MOST_SHOWN = 100


class Lost(Exception):
    """It ended, hangs or sends nonsense, and is of no use any more."""


class Unsound(FpgaError):
    """A run failed, and the board has to recover: READY or REFUSED comes when it has."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a run may take beyond the driver's own deadlines: once, and for what goes to the board
    and back, of which those know nothing."""

    grace_s: float = 0.3
    bytes_per_s: float = 1e8


NEAR = Allowance()
FAR = Allowance(grace_s=2.0, bytes_per_s=4e6)
"""Of a board behind a network, where every register takes a message."""


@dataclass(frozen=True, slots=True)
class Launch:
    """``board``: as INFERRY_FPGA_BOARD, but auto. ``folder``: of the compiled model."""

    python: str
    folder: Path
    board: str
    environ: Mapping[str, str]
    allowance: Allowance = NEAR


@dataclass(frozen=True, slots=True)
class Opened:
    """What it says of its board."""

    name: str
    is_simulated: bool
    max_batch: int
    seconds_per_clock: float
    counts: Counts


def deadline_s(
    artifact: Artifact, samples: int, opened: Opened, allowance: Allowance = NEAR
) -> float:
    """How long a run may take: what the driver allows for its packet, and more."""
    answer = samples * artifact.output_words * artifact.shape.word_beats
    clocks = artifact.latency_cycles + artifact.interval_cycles * samples
    size = artifact.run_bytes(samples) // 8 + answer
    driver_s = LEAST_DEADLINE_S + SLACK * (clocks + 4 * size) * opened.seconds_per_clock
    return driver_s + 8 * size / allowance.bytes_per_s + allowance.grace_s


class Child:
    """See the module. ``opened``: once it is ready."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        sock: socket.socket,
        artifact: Artifact,
        allowance: Allowance = NEAR,
    ) -> None:
        self._process, self._sock, self._artifact = process, sock, artifact
        self._allowance = allowance
        self._digest = artifact.digest()
        self._in_beats = artifact.input_words * artifact.shape.word_beats
        self._out_beats = artifact.output_words * artifact.shape.word_beats
        self._number = 0
        self._busy = threading.Lock()
        self.opened = Opened("", False, 1, 0.0, Counts())
        self.counts = Counts()

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} board={self.opened.name!r}>"

    @classmethod
    def start(cls, launch: Launch, artifact: Artifact) -> Child:
        """A process that opens the board now. It leads a session of its own, so a Ctrl-C reaches
        the server alone, and dies with the thread that calls this. Raises BoardError."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [
                launch.python, os.fspath(boot.__file__), "--fd", str(theirs.fileno()),
                "--board", launch.board, "--folder", os.fspath(launch.folder),
                "--parent", str(os.getpid()),
            ]  # fmt: skip
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                    env=dict(launch.environ), start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                said = error.strerror or type(error).__name__
                raise BoardError(f"cannot start '{launch.python}': {said}") from None
        return cls(process, ours, artifact, launch.allowance)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """For poll: it hangs up when the process has ended."""
        return self._sock.fileno()

    def await_ready(self, limit_s: float) -> None:
        """Until the board is open, or has recovered. Raises Lost, and what the process says."""
        with self._busy:
            frame = self._receive(time.monotonic() + limit_s, 0, f"not ready in {limit_s:.0f} s")
            if frame.kind == frames.REFUSED:
                raise frames.error_of(_document(frame))
            if frame.kind != frames.READY:
                raise Lost("it sends nonsense")
            self.opened = _opened(_document(frame), self._digest)
            self.counts = self.opened.counts

    def run(self, payloads: Array) -> Array:
        """INPUT payloads uint64 [B, beats] to the output's beats [B, beats], of at most
        ``opened.max_batch`` samples.

        Raises Lost; Unsound, and then READY is to be awaited; another FpgaError, and all is well.
        """
        with self._busy:
            samples = len(payloads)
            limit_s = deadline_s(self._artifact, samples, self.opened, self._allowance)
            until = time.monotonic() + limit_s
            self._number = (self._number + 1) & 0xFFFFFFFF
            self._send(payloads, until, limit_s)
            size = 8 * samples * self._out_beats
            frame = self._receive(until, COUNTS.size + size, f"no answer in {limit_s:.2f} s")
            if frame.number != self._number:
                raise Lost("it sends nonsense")
            if frame.kind == frames.ANSWER and len(frame.body) == COUNTS.size + size:
                self.counts = Counts(*COUNTS.unpack_from(frame.body))
                beats = np.frombuffer(frame.body, "<u8", offset=COUNTS.size)
                return beats.reshape(samples, self._out_beats)
            if frame.kind != frames.FAILED:
                raise Lost("it sends nonsense")
            document = _document(frame)
            error = frames.error_of(document)
            if document.get("is_sound") is True:
                raise error
            raise Unsound(str(error)) from error

    def kill(self) -> None:
        """At once. In any thread."""
        self._process.kill()

    def end(self, *, is_asked: bool) -> str:
        """Ended, reaped and closed; how, in words. ``is_asked``: it may close its board first.
        Raises BoardError where not even killing ends it, which may be tried again."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if is_asked:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVE_S)
        self.kill()
        try:
            code = self._process.wait(DIE_S)
        except subprocess.TimeoutExpired:
            raise BoardError(
                f"process {self.pid}, which drives the board, cannot be ended: the board hangs in"
                " the kernel, and has to be switched off and on"
            ) from None
        with self._busy:
            self._sock.close()
        return _ending(code)

    def _send(self, payloads: Array, until: float, limit_s: float) -> None:
        body = np.ascontiguousarray(payloads, "<u8")
        self._sock.settimeout(max(1e-3, until - time.monotonic()))
        try:
            frames.send(self._sock, frames.RUN, self._number, body)
        except TimeoutError:
            raise Lost(f"it took no input in {limit_s:.2f} s") from None
        except OSError:
            raise Lost("it ended") from None

    def _receive(self, until: float, most_bytes: int, late: str) -> frames.Frame:
        try:
            frame = frames.receive(self._sock, most_bytes, until)
        except TimeoutError:
            raise Lost(late) from None
        except (OSError, FrameError):
            raise Lost("it ended or sends nonsense") from None
        if frame is None:
            raise Lost("it ended")
        return frame


def _document(frame: frames.Frame) -> dict[str, Any]:
    try:
        return frames.document_of(frame)
    except FrameError:
        raise Lost("it sends nonsense") from None


def _opened(document: dict[str, Any], digest: str) -> Opened:
    """Raises Lost for what no driver says."""
    if document.get("v") != frames.VERSION:
        raise Lost("it is of another version than this server")
    if document.get("digest") != digest:
        raise Lost("it has another model than this server: the bundle has changed")
    try:
        name, is_simulated = document["board"], document["is_simulated"]
        batch, clock_s = document["max_batch"], document["seconds_per_clock"]
        counts = Counts(**document["counts"])
    except (KeyError, TypeError):
        raise Lost("it sends nonsense") from None
    fits = (
        isinstance(name, str)
        and isinstance(is_simulated, bool)
        and type(batch) is int
        and 0 < batch <= 1 << 20
        and isinstance(clock_s, float | int)
        and 0 < clock_s <= SLOWEST_CLOCK_S
        and all(type(value) is int and value >= 0 for value in vars(counts).values())
    )
    if not fits:
        raise Lost("it sends nonsense")
    return Opened(name[:MOST_SHOWN], is_simulated, batch, float(clock_s), counts)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
