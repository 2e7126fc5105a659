"""A thousand injected faults: each a typed error within a second, then right answers again.

    python -m benchmarks.fpga.faults                 # 800 in process, 200 over PYNQ.remote
    python -m benchmarks.fpga.faults --faults 40

Faults of a run (stall, dropped TLAST, memory that refuses) are recovered by the session that had
them; each fourth of them lasts for a second run. Where an image is refused, or memory is not
there, a new session is opened when the cause is gone. What never ends would be a hang: the process
is ended then, with a traceback, and the benchmark fails.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fpga.artifact import load
from fpga.board import bitstream
from fpga.board.machine import FIRMWARE, MANAGER, Machine
from fpga.driver.bitfile import read_bit
from fpga.errors import BitstreamError, CapacityError, DeadlineError, EngineError, FpgaError
from fpga.isa.shape import SMALL, EngineShape

Array = Any
HANG_S = 20
MOST_SAMPLES = 48
"""More than the engine holds back: a stall finds bursts under way in both directions."""
HOST = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.10"
OF_RUNS: dict[str, type[Exception]] = {
    "stall": DeadlineError, "drop_last": DeadlineError, "slave_error": EngineError,
}  # fmt: skip
OF_OPENING: dict[str, type[Exception]] = {
    "wrong part": BitstreamError, "manager fails": BitstreamError, "stale image": BitstreamError,
    "another design runs": BitstreamError, "memory exhausted": CapacityError,
}  # fmt: skip
KINDS = {**OF_RUNS, **OF_OPENING}
ANOTHER = bitstream.SimulatedDesign(EngineShape(**{**SMALL.as_dict(), "d_words": 32}), "f" * 32)


class Seen(msgspec.Struct):
    """Of one kind of fault on one board: how many, seconds of the slowest error and of the slowest
    way back to a right answer, and what went wrong otherwise."""

    board: str
    kind: str
    error: str
    count: int = 0
    errors: int = 0
    worst_error_s: float = 0.0
    worst_recovery_s: float = 0.0
    wrong: list[str] = []


class Trial:
    """One board, and faults upon it. ``device``: pynq's, in front of ``machine``."""

    def __init__(self, board: str, machine: Machine, device: Any, folder: Path) -> None:
        from fpga.driver.on_pynq import PynqHardware

        self.machine, self._hardware = machine, PynqHardware(device)
        self._artifact = load(folder)
        self._bit, self._hwh = (
            (folder / name).read_bytes() for name in ("design.bit", "design.hwh")
        )
        self._inputs, self._expected = (
            np.load(folder / name) for name in ("inputs.npy", "expected.npy")
        )
        self._session: Any = None
        self._draw = random.Random(1)
        self.seen = {kind: Seen(board, kind, error.__name__) for kind, error in KINDS.items()}

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None

    def inject(self, kind: str) -> None:
        """One fault, its error, and the way back."""
        seen, rest = self.seen[kind], self._draw.random()
        seen.count += 1
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        if kind in OF_RUNS:
            self._open()
            with self._broken(kind):
                for _ in range(2 if rest < 0.25 else 1):
                    self._fails(kind, self._answers)
        else:
            self.close()
            with self._broken(kind):
                self._fails(kind, lambda: self._open(self._image(kind)))
        began = time.monotonic()
        try:
            self._open()
            self._answers()
        except Exception as error:
            seen.wrong.append(f"no way back: {type(error).__name__}: {error}")
            self.close()
        seen.worst_recovery_s = max(seen.worst_recovery_s, time.monotonic() - began)
        faulthandler.cancel_dump_traceback_later()

    def _open(self, bit: bytes = b"") -> None:
        from fpga.driver.session import Session

        if self._session is None:
            session = Session(
                self._artifact, bit or self._bit, self._hwh, self._hardware, max_batch=MOST_SAMPLES
            )
            session.open()
            self._session = session

    def _answers(self) -> None:
        first = self._draw.randrange(len(self._inputs) - MOST_SAMPLES)
        rows = slice(first, first + self._draw.randint(1, MOST_SAMPLES))
        beats = self._session.run_beats(self._artifact.quantise(self._inputs[rows]))
        found = self._artifact.unpack(beats).reshape(self._expected[rows].shape)
        if not (found == self._expected[rows]).all():
            raise AssertionError("a wrong answer")

    def _fails(self, kind: str, act: Callable[[], None]) -> None:
        seen, began = self.seen[kind], time.monotonic()
        try:
            act()
            seen.wrong.append("no error")
        except FpgaError as error:
            if not isinstance(error, KINDS[kind]):
                seen.wrong.append(f"{type(error).__name__}: {error}")
        except Exception as error:
            seen.wrong.append(f"{type(error).__name__}: {error}")
        seen.errors += 1
        seen.worst_error_s = max(seen.worst_error_s, time.monotonic() - began)

    def _image(self, kind: str) -> bytes:
        if kind != "wrong part":
            return self._bit
        design = bitstream.SimulatedDesign(SMALL, self._artifact.build)
        part = ("xc7z010clg400-1", 0x03722093)
        # By its header, or by its IDCODE alone.
        name = part[0] if self._draw.random() < 0.5 else "xc7z020clg400-1"
        return bitstream.make(design, name, part[1], "x")

    @contextlib.contextmanager
    def _broken(self, kind: str) -> Iterator[None]:
        machine = self.machine
        with contextlib.ExitStack() as stack:
            if kind in OF_RUNS:
                machine.set_faults(**{kind: True})
            elif kind == "manager fails":
                self._load_another()
                machine.set_faults(write_error=True)
            elif kind == "stale image":
                self._load_another()
                machine.set_faults(stale_image=True)
            elif kind == "another design runs":
                # As a stale one, but the driver's own note says that it is there.
                self._open()
                self.close()
                name = machine.read_file(MANAGER + "firmware")
                self._load_another()
                machine._parts.manager.firmware = name
                machine.set_faults(stale_image=True)
            elif kind == "memory exhausted":
                free = len(machine.memory.bytes) - machine.memory.used
                stack.callback(machine.memory.free, machine.memory.allocate(free - 4096))
            yield
            machine.set_faults()

    def _load_another(self) -> None:
        """A design of another shape and build, behind the driver's back."""
        machine = self.machine
        made = bitstream.make(ANOTHER, machine.kind.part, machine.kind.idcode, "another")
        machine.write_file(FIRMWARE + "another.bin", bitstream.to_bin(read_bit(made).data))
        machine.write_file(MANAGER + "firmware", b"another.bin")


def run(trial: Trial, faults: int) -> list[Seen]:
    """All kinds in turn, in an order that is drawn anew for each turn."""
    draw, kinds = random.Random(2), list(KINDS)
    try:
        for number in range(faults):
            if number % len(kinds) == 0:
                draw.shuffle(kinds)
            trial.inject(kinds[number % len(kinds)])
    finally:
        trial.close()
    return list(trial.seen.values())


def inside(folder: Path, faults: int) -> list[Seen]:
    """In pynq's environment: four of five in process, the others over PYNQ.remote."""
    from pynq.pl_server.remote_device import RemoteDevice

    from fpga.board import remote
    from fpga.board.inprocess import attach

    found = []
    remote_faults = max(faults // 5, min(faults // 2, 8))
    machine = Machine("pynq-z2", cma_bytes=1 << 20)
    found += run(Trial("in process", machine, attach(machine), folder), faults - remote_faults)
    machine.close()
    machine = Machine("pynq-z2", cma_bytes=1 << 20)
    server = remote.serve(machine, HOST)
    try:
        found += run(Trial("PYNQ.remote", machine, RemoteDevice(0, HOST), folder), remote_faults)
    finally:
        server.stop(0).wait()
        machine.close()
    return found


def table(found: list[Seen]) -> str:
    """For a terminal, and for RESULTS.md."""
    lines = [
        "| board | fault | faults | errors | of type | slowest error, s | slowest way back, s |"
        " otherwise |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.board} | {one.kind} | {one.count} | {one.errors} | {one.error} |"
        f" {one.worst_error_s:.3f} | {one.worst_recovery_s:.3f} | {'; '.join(one.wrong[:3]) or 0} |"
        for one in found
    ]
    lines.append(
        f"| both | all | {sum(one.count for one in found)} | {sum(one.errors for one in found)} | |"
        f" {max(one.worst_error_s for one in found):.3f} |"
        f" {max(one.worst_recovery_s for one in found):.3f} |"
        f" {sum(len(one.wrong) for one in found)}; hangs: 0 |"
    )
    return "\n".join(lines)


def main() -> None:
    """Prints a table. 1 where anything was not as it shall be."""
    parser = argparse.ArgumentParser(description="injected faults, their errors, and the way back")
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(msgspec.json.encode(inside(asked.inside, asked.faults)).decode())
        return
    found = outside(asked.faults)
    print(table(found))
    raise SystemExit(any(one.wrong or one.worst_error_s >= 1 for one in found))


def outside(faults: int) -> list[Seen]:
    """Compiles here, breaks there."""
    from benchmarks.fpga import models, prepared
    from fpga.simulation.board import library

    library(ANOTHER.shape, ANOTHER.build)
    with tempfile.TemporaryDirectory() as name:
        prepared.prepare(Path(name), models.digits_mlp(), models.digits()[0][:256], SMALL)
        said = prepared.run_inside(
            "benchmarks.fpga.faults", "--inside", name, "--faults", str(faults),
            timeout_s=60 + 3 * faults,
        )  # fmt: skip
    return msgspec.json.decode(said.splitlines()[-1], type=list[Seen])


if __name__ == "__main__":
    main()
