"""Networks on the Verilated board: every value against the integer graph and onnxruntime, clocks
against the prediction and the issue's reach, and how fast the simulation is.

    python -m benchmarks.fpga.networks                   # prints figures as JSON
    python -m benchmarks.fpga.networks --only digits --samples 200

Values that go out of the board are compared with the graph's; the graph's tensors, all of them,
with onnxruntime's integer kernels, which are those of this machine's CPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnx

from benchmarks.fpga import models
from benchmarks.fpga.drive import Driven
from benchmarks.fpga.oracle import Oracle, kernels
from benchmarks.outcome import Finding
from fpga.compiler import reference
from fpga.compiler.accuracy import integers
from fpga.compiler.compilation import Compiled, Options, compile_model
from fpga.isa import registers
from fpga.isa.shape import LARGE, SMALL, EngineShape
from fpga.timing import predict

Array = Any
TIGHT = EngineShape(
    n=8, rq=4, w_words=160, p_words=256, d_words=64, x_words=128, a_words=256, b_words=256
)


@dataclass(frozen=True, slots=True)
class Case:
    """``latency``, ``interval``: clocks, the reach; None: none was asked. ``samples``: through the
    Verilated board; ``oracle``: through the graph and onnxruntime."""

    name: str
    make: Callable[[], onnx.ModelProto]
    data: Callable[[], Array]
    shape: EngineShape
    samples: int
    oracle: int
    latency: int | None = None
    interval: float | None = None


CASES = (
    Case("digits", models.digits_mlp, lambda: models.digits()[0], SMALL, 1797, 1797, 80, 46),
    Case("784", models.wide_mlp, models.digits_28, LARGE, 1797, 1797, 370, 260),
    Case("cnn", models.digits_cnn, lambda: models.digits()[0].reshape(-1, 1, 8, 8), SMALL, 99, 900),
    Case("resnet-20", models.resnet_20, lambda: models.pictures(116, 3, 32), LARGE, 4, 16, 190_000),
    Case("streamed", models.streamed_resnet, lambda: models.pictures(600, 3, 8), TIGHT, 100, 500),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one network. ``board_values``: compared on the board, of which ``board_wrong`` differ;
    ``oracle_values``, ``oracle_wrong``: graph against onnxruntime."""

    case: Case
    board_values: int
    board_wrong: int
    oracle_values: int
    oracle_wrong: int
    latency: int
    interval: float
    predicted: tuple[int, int]
    found: tuple[int, int]
    utilisation: float
    clocks_per_s: float


def measure(case: Case, samples: int) -> Measured:
    """All of one network."""
    values = case.data()
    compiled = compile_model(case.make(), values[:100], Options(shape=case.shape))
    oracle_values, oracle_wrong = _against_onnxruntime(compiled, values[: case.oracle])
    board = Driven(case.shape)
    try:
        return _on_board(case, compiled, values[:samples], board, oracle_values, oracle_wrong)
    finally:
        board.close()


def _on_board(
    case: Case, compiled: Compiled, rows: Array, board: Driven, values: int, wrong: int
) -> Measured:
    made = compiled.artifact
    board.send(made.load, 0)
    expected = reference.run(compiled.graph, integers(compiled.graph, rows))[compiled.graph.output]
    payloads, answers = made.quantise(rows), []
    answer_bytes = made.output_words * case.shape.n
    single = made.run_packet(payloads[:1])
    board.send(single, answer_bytes)
    first = board.register(registers.CYCLES_LOW)
    at_once = min(made.max_batch, 64)
    clocks, began = 0, time.perf_counter()
    for at in range(0, len(rows), at_once):
        part = payloads[at : at + at_once]
        beats = board.send(made.run_packet(part), answer_bytes * len(part))
        answers.append(beats.reshape(len(part), -1))
        clocks += board.register(registers.CYCLES_LOW)
    took_s = time.perf_counter() - began
    whole = payloads[:at_once]
    packet = made.run_packet(whole)
    predicted = predict(case.shape, made.program(), packet).cycles
    board.send(packet, answer_bytes * len(whole))
    batch = board.register(registers.CYCLES_LOW)
    interval = (batch - first) / max(1, len(whole) - 1)
    got = made.unpack(np.concatenate(answers)).reshape(expected.shape)
    return Measured(
        case, got.size, int((got != expected).sum()), values, wrong, first, interval,
        (predict(case.shape, made.program(), single).cycles, predicted), (first, batch),
        compiled.report.macs / (interval * case.shape.n**2), clocks / took_s,
    )  # fmt: skip


def _against_onnxruntime(compiled: Compiled, rows: Array) -> tuple[int, int]:
    whole = integers(compiled.graph, rows)
    ours, theirs = reference.run(compiled.graph, whole), Oracle(compiled.graph).run(whole)
    names = [node.target for node in compiled.graph.nodes]
    return (
        sum(ours[name].size for name in names),
        sum(int((ours[name] != theirs[name]).sum()) for name in names),
    )


def findings(found: list[Measured]) -> list[Finding]:
    """Rows for RESULTS.md."""
    rows = []
    for one in found:
        name, n = one.case.name, one.case.shape.n
        rows.append(
            Finding(
                f"{name}, N = {n}: values on the board that differ from the integer graph;"
                f" of the graph's from onnxruntime's integer kernels ({kernels()})",
                "0",
                f"{one.board_wrong} of {one.board_values:,}; {one.oracle_wrong} of"
                f" {one.oracle_values:,}",
                one.board_wrong == one.oracle_wrong == 0,
            )
        )
        latency, interval = one.case.latency, one.case.interval
        rows.append(
            Finding(
                f"{name}, N = {n}: clocks of one sample; between samples; array's use then",
                f"<= {latency or '-'}; <= {interval or '-'}",
                f"{one.latency:,}; {one.interval:,.1f}; {one.utilisation:.1%}",
                (latency is None or one.latency <= latency)
                and (interval is None or one.interval <= interval),
            )
        )
        rows.append(
            Finding(
                f"{name}: clocks predicted, and found, of one sample and of a batch",
                "equal",
                f"{one.predicted[0]:,} and {one.found[0]:,}; {one.predicted[1]:,} and"
                f" {one.found[1]:,}",
                one.predicted == one.found,
            )
        )
        reach = 1e6 if n == 8 else 0.4e6
        rows.append(
            Finding(
                f"{name}, N = {n}: simulated clocks a second, with the driver's share",
                f">= {reach / 1e6:.1f} M",
                f"{one.clocks_per_s / 1e6:.2f} M",
                one.clocks_per_s >= reach,
            )
        )
    return rows


def main() -> None:
    """Prints figures as JSON."""
    parser = argparse.ArgumentParser(description="networks on the Verilated board")
    parser.add_argument("--only", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--samples", type=int, help="through the board, of each network")
    asked = parser.parse_args()
    found = []
    for case in CASES:
        if asked.only and case.name not in asked.only:
            continue
        found.append(measure(case, asked.samples or case.samples))
        print(f"{case.name}: done", file=sys.stderr, flush=True)
    print(msgspec.json.format(msgspec.json.encode(findings(found)), indent=2).decode())


if __name__ == "__main__":
    main()
