"""hls4ml's own PYNQ driver, as it ships and unchanged, on a simulated board.

    python -m benchmarks.fpga.hls4ml

The file is templates/vivado_accelerator/pynq-z2/python_drivers/axi_stream_driver.py of hls4ml's
wheel, which is downloaded (3 MB) into build/ and not installed. Its class NeuralNetworkOverlay asks
for `hier_0.axi_dma_0`, so the board's description has our DMA in such a block; behind it is this
project's engine, not a network that hls4ml made. Between the two lies only what that driver offers
for it: `encode` makes the engine's packet of the rows, as it makes fixed point of them elsewhere.
The network's program goes through the same DMA before.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import io
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fpga.artifact import load

Array = Any
VERSION = "1.3.0"
DRIVER = "hls4ml/templates/vivado_accelerator/pynq-z2/python_drivers/axi_stream_driver.py"
DIGEST = "0710b15efb1ed1e923b578fc0263d48d5f49166eec779be0f21772310efa1a34"
FOLDER = Path(__file__).parents[2] / "build/hls4ml"
RUNS = {1: 200, 64: 28}


class Found(msgspec.Struct):
    """Of runs of one size: values compared and wrong; registers read and written, milliseconds of
    `predict` without the simulator's, at the middle; clocks of the engine."""

    batch: int
    runs: int
    values: int
    wrong: int
    accesses: float
    predict_ms: float
    simulator_ms: float
    clocks: int


def driver() -> Path:
    """The file, downloaded where it is not there. Raises RuntimeError where it is another."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept = FOLDER / f"axi_stream_driver-{VERSION}.py"
    if not kept.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--only-binary", ":all:", "--dest", FOLDER, f"hls4ml=={VERSION}"],
            check=True, timeout=300, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (wheel,) = FOLDER.glob(f"hls4ml-{VERSION}-*.whl")
        with zipfile.ZipFile(wheel) as opened:
            kept.write_bytes(opened.read(DRIVER))
    found = hashlib.sha256(kept.read_bytes()).hexdigest()
    if found != DIGEST:
        raise RuntimeError(f"{kept.name} is not the file that was looked at: {found}")
    return kept


def inside(folder: Path, path: Path) -> list[Found]:
    """In pynq's environment."""
    from benchmarks.fpga.walltime import CountedMachine
    from fpga.board.inprocess import attach

    spec = importlib.util.spec_from_file_location("axi_stream_driver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = []
    for batch in RUNS:
        machine = CountedMachine("pynq-z2")
        attach(machine)
        found.append(_predict(module.NeuralNetworkOverlay, machine, folder, batch))
        machine.close()
    return found


def _predict(overlay_class: Any, machine: Any, folder: Path, batch: int) -> Found:
    import pynq

    from fpga.isa import registers

    made = load(folder)
    inputs, expected = np.load(folder / "inputs.npy"), np.load(folder / "expected.npy")
    answer = made.output_words * made.shape.word_beats
    overlay = overlay_class(
        str(folder / "design.bit"), x_shape=(made.run_bytes(batch) // 8,),
        y_shape=(batch, answer), dtype=np.uint64,
    )  # fmt: skip
    program = pynq.allocate(shape=made.load.shape, dtype=np.uint64)
    program[:] = made.load
    overlay.sendchannel.transfer(program)
    overlay.sendchannel.wait()

    def encode(rows: Array) -> Array:
        return made.run_packet(made.quantise(rows))

    own, simulated, accesses, found = [], [], [], Found(batch, 0, 0, 0, 0, 0, 0, 0)
    for run in range(RUNS[batch]):
        part = slice(run * batch, (run + 1) * batch)
        before, began = (machine.logic.took_ns, machine.accesses), time.perf_counter_ns()
        with contextlib.redirect_stdout(io.StringIO()):
            beats = overlay.predict(inputs[part], encode=encode)
        took = time.perf_counter_ns() - began
        in_simulator = machine.logic.took_ns - before[0]
        own.append((took - in_simulator) / 1e6)
        simulated.append(in_simulator / 1e6)
        accesses.append(machine.accesses - before[1])
        got = made.unpack(np.array(beats)).reshape(expected[part].shape)
        found.values += got.size
        found.wrong += int((got != expected[part]).sum())
    found.runs, found.accesses = RUNS[batch], statistics.median(accesses)
    found.predict_ms, found.simulator_ms = statistics.median(own), statistics.median(simulated)
    found.clocks = machine.read_register(registers.ENGINE_BASE + registers.CYCLES_LOW)
    return found


def table(found: list[Found]) -> str:
    """For a terminal, and for RESULTS.md."""
    lines = [
        "| samples of a run | runs | values, that differ | registers accessed | predict, ms |"
        " simulator, ms (apart) | clocks of the engine |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.batch} | {one.runs} | {one.values:,}, {one.wrong} | {one.accesses:.0f} |"
        f" {one.predict_ms:.3f} | {one.simulator_ms:.3f} | {one.clocks:,} |"
        for one in found
    ]
    return "\n".join(lines)


def main() -> None:
    """Prints a table. 1 where a value differs."""
    parser = argparse.ArgumentParser(description="hls4ml's PYNQ driver on a simulated board")
    parser.add_argument("--inside", type=Path, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(msgspec.json.encode(inside(*asked.inside)).decode())
        return
    from benchmarks.fpga import models, prepared
    from fpga.board import hwh
    from fpga.isa.shape import SMALL

    path = driver()
    with tempfile.TemporaryDirectory() as name:
        made = prepared.prepare(Path(name), models.digits_mlp(), models.digits()[0], SMALL)
        described = hwh.make(made.bitstream.part, dma="hier_0/axi_dma_0")
        (Path(name) / "design.hwh").write_bytes(described)
        said = prepared.run_inside("benchmarks.fpga.hls4ml", "--inside", name, path, timeout_s=200)
    found = msgspec.json.decode(said.splitlines()[-1], type=list[Found])
    print(f"hls4ml {VERSION}, {DRIVER}, sha256 {DIGEST[:16]}, unchanged")
    print(table(found))
    raise SystemExit(any(one.wrong for one in found))


if __name__ == "__main__":
    main()
