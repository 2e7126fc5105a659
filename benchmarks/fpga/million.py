"""A million values out of the Verilated board, each compared with the integer graph's and with
onnxruntime's integer kernels.

    nice -n 19 python -m benchmarks.fpga.million              # some ten minutes
    python -m benchmarks.fpga.million --share 0.01

The networks are those of benchmarks.fpga.networks. Inputs are drawn from a seed: real pictures with
noise, and one in eight so far beyond what was calibrated that it saturates.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from benchmarks.fpga.drive import Driven
from benchmarks.fpga.networks import CASES, Case
from benchmarks.fpga.oracle import Oracle, kernels
from fpga.compiler import reference
from fpga.compiler.accuracy import integers
from fpga.compiler.compilation import Options, compile_model
from fpga.isa import registers

Array = Any
SAMPLES = {"digits": 40_000, "784": 40_000, "cnn": 15_000, "streamed": 6_000, "resnet-20": 500}
"""Each gives ten values: 1,015,000."""
PART = 256


class Compared(msgspec.Struct):
    """Of one network: values out of the board, those that differ from the graph's, and those of
    the graph's that differ from onnxruntime's; clocks of the runs; seconds with all."""

    name: str
    lanes: int
    samples: int
    values: int
    from_graph: int
    from_onnxruntime: int
    distinct: int
    clocks: int
    took_s: float


def compare(case: Case, samples: int) -> Compared:
    """Part by part, so that memory does not grow."""
    values = case.data()
    compiled = compile_model(case.make(), values[:100], Options(shape=case.shape))
    made, graph, oracle = compiled.artifact, compiled.graph, Oracle(compiled.graph)
    found = Compared(case.name, case.shape.n, samples, 0, 0, 0, 0, 0, 0.0)
    board, began = Driven(case.shape), time.monotonic()
    seen: set[bytes] = set()
    size = made.output_words * case.shape.n
    try:
        board.send(made.load, 0)
        for rows in drawn(values, samples):
            whole = integers(graph, rows)
            expected = reference.run(graph, whole)[graph.output]
            theirs = oracle.run(whole)[graph.output]
            for at in range(0, len(rows), made.max_batch):
                part = made.quantise(rows[at : at + made.max_batch])
                beats = board.send(made.run_packet(part), size * len(part))
                found.clocks += board.register(registers.CYCLES_LOW)
                wanted = expected[at : at + len(part)]
                got = made.unpack(beats.reshape(len(part), -1)).reshape(wanted.shape)
                found.values += got.size
                found.from_graph += int((got != wanted).sum())
                seen.update(each.tobytes() for each in got)
            found.from_onnxruntime += int((expected != theirs).sum())
    finally:
        board.close()
    found.took_s, found.distinct = time.monotonic() - began, len(seen)
    return found


def drawn(values: Array, samples: int) -> Iterator[Array]:
    """Parts of inputs, float32."""
    draw, spread = np.random.default_rng(samples), float(values.std())
    for at in range(0, samples, PART):
        count = min(PART, samples - at)
        rows = values[draw.integers(0, len(values), count)]
        rows = rows + draw.normal(0, 0.3 * spread, rows.shape)
        rows[::8] *= 4
        yield rows.astype(np.float32)


def table(found: list[Compared]) -> str:
    """For a terminal, and for RESULTS.md."""
    lines = [
        f"| network | lanes | samples | values out of the board | that differ from the graph's |"
        f" the graph's that differ from {kernels()} | different answers | clocks | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.name} | {one.lanes} | {one.samples:,} | {one.values:,} | {one.from_graph} |"
        f" {one.from_onnxruntime} | {one.distinct:,} | {one.clocks:,} | {one.took_s:.0f} |"
        for one in found
    ]
    lines.append(
        f"| all | | {sum(one.samples for one in found):,} | {sum(one.values for one in found):,} |"
        f" {sum(one.from_graph for one in found)} | {sum(one.from_onnxruntime for one in found)} |"
        f" | {sum(one.clocks for one in found):,} | {sum(one.took_s for one in found):.0f} |"
    )
    return "\n".join(lines)


def main() -> None:
    """Prints a table. 1 where a value differs."""
    parser = argparse.ArgumentParser(description="a million values out of the Verilated board")
    parser.add_argument("--only", action="append", choices=list(SAMPLES))
    parser.add_argument("--share", type=float, default=1.0, help="of the samples")
    asked = parser.parse_args()
    found = []
    for case in CASES:
        if asked.only and case.name not in asked.only:
            continue
        found.append(compare(case, max(1, round(SAMPLES[case.name] * asked.share))))
        print(f"{case.name}: done in {found[-1].took_s:.0f} s", file=sys.stderr, flush=True)
    print(table(found))
    raise SystemExit(any(one.from_graph or one.from_onnxruntime for one in found))


if __name__ == "__main__":
    main()
