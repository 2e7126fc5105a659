"""What the end of a compiler's process means, and that it depends on who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from registry.proof.process import Finished
from runtime.fpga_compiler import CompileLimits, CompileOrder
from runtime.fpga_compiler.process import MIB, Result, Task, cause_of, limits_of

LIMITS = CompileLimits(wall_s=60.0, cpu_s=90, memory_bytes=500 * MIB)


def _ended(code: int, result: Result | None = None, *, is_timed_out: bool = False) -> Finished:
    output = "" if result is None else msgspec.json.encode(result).decode()
    return Finished(code, output, "", is_timed_out)


@pytest.mark.parametrize(
    ("finished", "words"),
    [
        (_ended(0, Result(refusal="'x' is no .npy file")), "'x' is no .npy file"),
        (_ended(0, Result(lacks_memory=True)), "more than 500 MiB of memory"),
        (_ended(-signal.SIGABRT), "more than 500 MiB of memory, the most that is allowed here (it"),
        (_ended(-signal.SIGSEGV), "SIGSEGV"),
        (_ended(-signal.SIGXCPU), "more than 90 s of CPU time"),
        (_ended(-signal.SIGKILL), "the machine had no memory left"),
        (_ended(-signal.SIGTERM, is_timed_out=True), "longer than 60 s"),
        (_ended(0, Result(defect="KeyError")), "(KeyError): this is a defect of Inferry"),
        (_ended(1), "exit code 1): this is a defect"),
        (_ended(0), "exit code 0): this is a defect"),
        (Finished(0, "Traceback ...", "", False), "this is a defect"),
    ],
)
def test_each_end_has_a_cause_in_one_line(finished: Finished, words: str) -> None:
    cause = cause_of(finished, LIMITS, LIMITS.wall_s)
    assert cause is not None
    assert words in cause
    assert len(cause.splitlines()) == 1


def test_what_is_done_has_none() -> None:
    assert cause_of(_ended(0, Result()), LIMITS, 60.0) is None


def test_an_operator_says_minutes_and_mebibytes() -> None:
    assert limits_of(2, 300) == CompileLimits(120.0, 240, 300 * MIB)
    most = limits_of(30, None)
    assert (most.wall_s, most.memory_bytes) == (1800.0, CompileLimits().memory_bytes)
    assert 0 < most.memory_bytes <= 8192 * MIB


def test_it_does_nothing_for_who_has_ended_meanwhile(tmp_path: Path) -> None:
    order = CompileOrder(model=str(tmp_path), lanes=8, board="pynq-z2")
    for parent, code in ((os.getpid(), 0), (1, 1)):
        task = Task(order, None, "x", parent)
        (tmp_path / "task.json").write_bytes(msgspec.json.encode(task))
        done = subprocess.run(
            [sys.executable, "-P", "-m", "runtime.fpga_compiler", str(tmp_path / "task.json")],
            capture_output=True,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (code, b"")
        assert done.stdout == (b"{}" if code == 0 else b"")
