"""The driver's own time for an inference, on simulated boards in process and over PYNQ.remote.

    python -m benchmarks.fpga.walltime

What is measured is `Session.run`, real values in, real values out: quantising, packing, pynq's
registers and buffers (over gRPC: both ends of each call, the board's end being Python here and C++
on a real board), waiting, unpacking. Apart from it is told the simulator's time: what passes within
`Logic.read`, `write` and `run`, where Verilated clocks are made and no driver's code runs; a real
board takes those clocks at its own rate. In process a board's clock goes on by 30 clocks for an
access and stands still else, which makes for more polls than a real board has; over PYNQ.remote a
call is taken for 10,000 clocks (100 us at 100 MHz), or as many as the transfer still needs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fpga.artifact import load
from fpga.board.machine import Machine

Array = Any
COUNTERS = "/sys/devices/inferry/simulator"
BATCHES = {1: 400, 64: 100}
"""Samples of a run, and runs."""
HOST = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.9"


class Counted:
    """A board's logic, and how long it took."""

    def __init__(self, logic: Any) -> None:
        self._logic, self.took_ns = logic, 0

    def read(self, address: int) -> int:
        began = time.perf_counter_ns()
        value: int = self._logic.read(address)
        self.took_ns += time.perf_counter_ns() - began
        return value

    def write(self, address: int, value: int) -> None:
        began = time.perf_counter_ns()
        self._logic.write(address, value)
        self.took_ns += time.perf_counter_ns() - began

    def run(self, clocks: int) -> None:
        began = time.perf_counter_ns()
        self._logic.run(clocks)
        self.took_ns += time.perf_counter_ns() - began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logic, name)


class CountedMachine(Machine):
    """Its counters are a file of its own: those of another process can be read so, too."""

    accesses = 0

    def read_register(self, address: int) -> int:
        self.accesses += 1
        return super().read_register(address)

    def write_register(self, address: int, value: int) -> None:
        self.accesses += 1
        super().write_register(address, value)

    def _program(self, data: bytes) -> None:
        super()._program(data)
        self._parts.logic = Counted(self._parts.logic)  # type: ignore[assignment]

    def read_file(self, path: str) -> bytes:
        if path != COUNTERS:
            return super().read_file(path)
        logic: Any = self.logic
        return f"{logic.took_ns} {self.accesses}".encode()


class Measured(msgspec.Struct):
    """Of one board and batch, milliseconds of a run: the driver's own at the middle and at the
    99th of a hundred; the simulator's at the middle; registers read and written."""

    board: str
    batch: int
    runs: int
    driver_ms: float
    driver_p99_ms: float
    simulator_ms: float
    accesses: float


def measure(board: str, device: Any, folder: Path) -> list[Measured]:
    """Answers are compared, after each run."""
    from fpga.driver.on_pynq import PynqHardware
    from fpga.driver.session import Session

    parts = [(folder / name).read_bytes() for name in ("design.bit", "design.hwh")]
    inputs, expected = np.load(folder / "inputs.npy"), np.load(folder / "expected.npy")
    with Session(load(folder), parts[0], parts[1], PynqHardware(device)) as session:
        port = session.artifact.output
        answers = (expected.reshape(len(inputs), -1).astype(np.float32) - port.zero_point) * (
            np.float32(port.scale)
        )
        return [_measure_batch(board, session, device, inputs, answers, batch) for batch in BATCHES]


def _measure_batch(
    board: str, session: Any, device: Any, inputs: Array, answers: Array, batch: int
) -> Measured:
    rows, wanted = inputs[:batch], answers[:batch]
    own, simulated, accesses = [], [], []
    for turn in range(-10, BATCHES[batch]):
        before = _counters(device)
        began = time.perf_counter_ns()
        found = session.run(rows)
        took = time.perf_counter_ns() - began
        after = _counters(device)
        assert (found == wanted).all(), "a wrong answer"
        if turn >= 0:  # the first ones warm up
            own.append((took - after[0] + before[0]) / 1e6)
            simulated.append((after[0] - before[0]) / 1e6)
            accesses.append(after[1] - before[1])
    return Measured(
        board, batch, len(own), statistics.median(own), sorted(own)[len(own) * 99 // 100],
        statistics.median(simulated), statistics.median(accesses),
    )  # fmt: skip


def _counters(device: Any) -> tuple[int, int]:
    found = device.read_file(COUNTERS)
    took, accesses = (found if isinstance(found, str) else found.decode()).split()
    return int(took), int(accesses)


def inside(folder: Path) -> list[Measured]:
    """In pynq's environment."""
    from pynq.pl_server.remote_device import RemoteDevice

    from fpga.board.inprocess import attach

    machine = CountedMachine("pynq-z2")
    found = measure("in process", attach(machine), folder)
    machine.close()
    with _served():
        found += measure("PYNQ.remote", RemoteDevice(0, HOST), folder)
    return found


@contextlib.contextmanager
def _served() -> Iterator[None]:
    """A board in a process of its own, as a real one is elsewhere."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fpga.walltime", "--serve", HOST],
        stdout=subprocess.PIPE, text=True, stdin=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        yield
    finally:
        process.communicate(timeout=20)  # its input ends, and so does it


def serve(host: str) -> None:
    """Until the input ends."""
    from fpga.board import remote

    machine = CountedMachine("pynq-z2")
    server = remote.serve(machine, host)
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(1).wait()
    machine.close()


def table(found: list[Measured]) -> str:
    """For a terminal, and for RESULTS.md."""
    lines = [
        "| board | samples of a run | driver, ms: median, p99 | a sample, ms | simulator, ms"
        " (apart) | registers accessed |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.board} | {one.batch} | {one.driver_ms:.3f}, {one.driver_p99_ms:.3f} |"
        f" {one.driver_ms / one.batch:.4f} | {one.simulator_ms:.3f} | {one.accesses:.0f} |"
        for one in found
    ]
    return "\n".join(lines)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description="the driver's own time for an inference")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve)
    elif asked.inside:
        print(msgspec.json.encode(inside(asked.inside)).decode())
    else:
        print(table(outside()))


def outside() -> list[Measured]:
    """Compiles here, measures there."""
    from benchmarks.fpga import models, prepared
    from fpga.isa.shape import SMALL

    with tempfile.TemporaryDirectory() as name:
        prepared.prepare(Path(name), models.digits_mlp(), models.digits()[0][:256], SMALL)
        said = prepared.run_inside("benchmarks.fpga.walltime", "--inside", name, timeout_s=300)
    return msgspec.json.decode(said.splitlines()[-1], type=list[Measured])


if __name__ == "__main__":
    main()
