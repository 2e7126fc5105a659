"""The compiler as a process of its own: what a model makes it take, it does not take from whoever
started it.

    compiler = Compiler(CompileLimits(), folder)
    compiler.check(order, "x", check)            # the files alone; quick
    compiler.build(order, out, say, check)       # ``out`` is then a folder for an image

No code of a client runs in it: it reads numbers and a graph of known operators, and no library of
operators is ever loaded. It gets no variables of its parent but where Python's packages are.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from registry.errors import InvalidSourceError
from registry.proof.machine import memory_bytes
from registry.proof.process import Finished, run
from registry.proof.room import own_environment
from runtime.fpga_compiler.order import CompileOrder

MIB = 1024 * 1024
THREADS = str(max(1, min(4, os.cpu_count() or 1)))
CHECK_S = 120.0
"""Well within what a client waits for an answer."""
_OVERRUN = (signal.SIGXCPU, signal.SIGKILL)


def _most_memory() -> int:
    """Four of them at once leave the machine something."""
    return min(8 * 1024 * MIB, memory_bytes() // 3)


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """Of one compilation: how long it may take, how much of a CPU's time, and how much memory it
    may have."""

    wall_s: float = 1800.0
    cpu_s: int = 3600
    memory_bytes: int = field(default_factory=_most_memory)


def limits_of(minutes: int, memory_mib: int | None) -> CompileLimits:
    """As an operator says them; of a CPU's time twice as much."""
    most = _most_memory() if memory_mib is None else memory_mib * MIB
    return CompileLimits(60.0 * minutes, 120 * minutes, most)


class Task(msgspec.Struct, frozen=True):
    """``out``: None to look at the files only, with the model's input ``input_name``. ``parent``:
    whose end ends it."""

    order: CompileOrder
    out: str | None
    input_name: str
    parent: int


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """None of them: it is done. ``refusal``: what is wrong, for people; ``defect``: the kind of an
    error that nobody thought of."""

    refusal: str | None = None
    lacks_memory: bool = False
    defect: str | None = None


class Compiler:
    """Keeps what it needs in ``folder``, which goes with the order's files."""

    def __init__(self, limits: CompileLimits, folder: Path) -> None:
        self._limits = limits
        self._folder = folder

    def check(self, order: CompileOrder, input_name: str, check: Callable[[], None]) -> None:
        """``check`` raises CancelledError when it shall end. Raises InvalidSourceError."""
        task = Task(order, None, input_name, os.getpid())
        self._run("check", task, lambda line: None, check, CHECK_S)

    def build(
        self, order: CompileOrder, out: Path, say: Callable[[str], None], check: Callable[[], None]
    ) -> None:
        """``say`` is told each phase. Raises InvalidSourceError, so that the image's record has the
        reason."""
        task = Task(order, str(out), "", os.getpid())
        self._run("build", task, say, check, self._limits.wall_s)

    def _run(
        self,
        name: str,
        task: Task,
        say: Callable[[str], None],
        check: Callable[[], None],
        wall_s: float,
    ) -> None:
        room = self._folder / name
        room.mkdir()
        file = room / "task.json"
        file.write_bytes(msgspec.json.encode(task))

        def is_cancelled() -> bool:
            check()
            return False

        finished = run(
            [sys.executable, "-P", "-m", "runtime.fpga_compiler", str(file)],
            environment={
                **own_environment(room),
                "OMP_NUM_THREADS": THREADS,
                "OPENBLAS_NUM_THREADS": THREADS,
            },
            cwd=room,
            timeout_s=wall_s,
            cpu_s=self._limits.cpu_s,
            memory_bytes=self._limits.memory_bytes,
            on_line=say,
            is_cancelled=is_cancelled,
        )
        cause = cause_of(finished, self._limits, wall_s)
        if cause is not None:
            raise InvalidSourceError(cause)


def cause_of(finished: Finished, limits: CompileLimits, wall_s: float) -> str | None:
    """Why it did not do what it was to do, None where it did. Pure."""
    smaller = "compile a smaller model, or give fewer inputs"
    if finished.is_timed_out:
        return f"compiling took longer than {wall_s:g} s, the most that is allowed here: {smaller}"
    if finished.exit_code in (-number for number in _OVERRUN):
        return (
            f"compiling took more than {limits.cpu_s} s of CPU time, or the machine had no memory"
            f" left: {smaller}"
        )
    result = _result(finished)
    # A library that gets no memory may end the process at once.
    if finished.exit_code < 0 or (result is not None and result.lacks_memory):
        most = limits.memory_bytes // MIB
        how = "" if result is not None else f" ({finished.ending})"
        return (
            f"compiling takes more than {most} MiB of memory, the most that is allowed here{how}:"
            f" {smaller}"
        )
    if result is None or finished.exit_code or result.defect is not None:
        what = finished.ending if result is None else str(result.defect)
        return f"the compiler failed ({what}): this is a defect of Inferry, please report it"
    return result.refusal


def _result(finished: Finished) -> Result | None:
    try:
        return msgspec.json.decode(finished.output, type=Result)
    except msgspec.MsgspecError:
        return None
