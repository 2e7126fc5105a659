"""The whole `fpga/` folder of an image from an ONNX model: compiled, tried, with its hardware.

    report = build(Order(Path("model.onnx"), calibration=Path("calibration.npz")), folder, print)

    program.json, load.bin, stream.bin   fpga/artifact.py
    design.bit, design.hwh               fpga/design.py
    report.json                          fpga/report.py

Needs onnx, and onnxruntime for a float model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fpga import report as reports
from fpga.artifact import BIT, HWH, Artifact, load
from fpga.compiler import reference
from fpga.compiler.accuracy import as_the_model, integers
from fpga.compiler.compilation import (
    MOST_BATCH,
    Compiled,
    Options,
    compile_model,
    input_of,
    is_quantised,
    read_model,
)
from fpga.dataset import read_inputs, read_labelled
from fpga.design import Design, Given, given, simulated
from fpga.emulator import EmulatedEngine
from fpga.errors import CapacityError, DataError, ModelError
from fpga.isa.shape import LARGE, SMALL, EngineShape

Array = Any
Say = Callable[[str], None]
SHAPES = {8: SMALL, 16: LARGE, 32: replace(LARGE, n=32, rq=8, w_words=512)}
"""By lanes. 32 are more than any board that is known here has room for: for simulation."""
MOST_NAME = 200
"""Characters of a model's name, which may be any text."""
TRIED = 3
"""Inputs for the emulated engine: odd and even samples, and one more round."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build. ``source``: the .onnx file, float or quantised already; ``calibration``: real
    inputs, for a float model; ``held_out``: inputs `x` and labels `y` that float and int8 are
    compared on; ``lanes``: a key of SHAPES; ``bitstream``: None for a simulation."""

    source: Path
    calibration: Path | None = None
    held_out: Path | None = None
    lanes: int = 16
    board: str = "pynq-z2"
    is_tail_on_host: bool = False
    max_batch: int = MOST_BATCH
    bitstream: Given | None = None


def build(order: Order, folder: Path, say: Say = lambda line: None) -> reports.Report:
    """Into ``folder``, which is made, or is there and empty.

    say: is told each phase, a line each. Raises ModelError, DataError, CapacityError,
    BitstreamError and ProgramError, each saying what to do.
    """
    shape = shape_of(order.lanes)
    design = design_of(order)  # first: it is quick, and may be for another board
    for remark in design.remarks:
        say(f"Note: {remark}")
    say(f"Reading {order.source.name}")
    compiled, rows = _compiled(order, shape, design.build, say)
    name = compiled.artifact.name[:MOST_NAME]
    artifact = replace(compiled.artifact, bitstream=design.described, name=name)
    say(f"Trying the program on the emulated engine, with {TRIED} inputs")
    _try(compiled, artifact, rows)
    report = _report(compiled, artifact, order.board, 0 if rows is None else len(rows))
    artifact.save(folder)
    (folder / BIT).write_bytes(design.bit)
    (folder / HWH).write_bytes(design.hwh)
    reports.write(report, folder)
    load(folder)  # as a board will: what it refuses shall not leave this machine
    return report


def shape_of(lanes: int) -> EngineShape:
    """Raises CapacityError for a number of lanes that there is not."""
    if lanes not in SHAPES:
        raise CapacityError(f"an engine has {', '.join(map(str, SHAPES))} lanes, not {lanes}")
    return SHAPES[lanes]


def onnx_file(folder: Path) -> Path:
    """The only .onnx file below a folder. Raises ModelError."""
    found = sorted(path for path in folder.rglob("*.onnx") if path.is_file())
    if len(found) != 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:4])
        raise ModelError(
            f"an FPGA image is made of one .onnx file, and the model has {names or 'none'}"
        )
    return found[0]


def design_of(order: Order) -> Design:
    """The hardware alone. Raises BitstreamError, CapacityError."""
    shape = shape_of(order.lanes)
    if order.bitstream is None:
        return simulated(shape, order.board)
    return given(order.bitstream, shape, order.board)


def _compiled(
    order: Order, shape: EngineShape, build: str, say: Say
) -> tuple[Compiled, Array | None]:
    """The model, and the inputs that it was calibrated with."""
    model = read_model(order.source)
    name, sizes = input_of(model)
    if is_quantised(model) and (order.calibration or order.held_out):
        raise ModelError(
            f"{order.source.name} is quantised already: leave out"
            f" {'the calibration' if order.calibration else 'what float and int8 are compared on'}"
        )
    rows = held_out = None
    if order.calibration is not None:
        rows = read_inputs(order.calibration, name)
        _check_sizes(order.calibration, rows, sizes)
    if order.held_out is not None:
        held_out = read_labelled(order.held_out, name)
        _check_sizes(order.held_out, held_out[0], sizes)
    options = Options(
        shape, allow_host=order.is_tail_on_host, build=build, max_batch=order.max_batch
    )
    try:
        return compile_model(model, rows, options, held_out, say), rows
    except CapacityError as error:
        more = [lanes for lanes in SHAPES if lanes > order.lanes]
        if not more:
            raise
        raise CapacityError(
            f"{error}; this is the engine of {order.lanes} lanes: the one of {more[0]} is larger"
        ) from None


def _check_sizes(path: Path, rows: Array, sizes: tuple[int | None, ...]) -> None:
    found = rows.shape[1:]
    if len(found) != len(sizes) or any(
        size not in (None, there) for size, there in zip(sizes, found, strict=True)
    ):
        wanted = ", ".join("?" if size is None else str(size) for size in sizes)
        raise DataError(f"'{path.name}' holds {list(rows.shape)}; the model takes [N, {wanted}]")


def _try(compiled: Compiled, artifact: Artifact, rows: Array | None) -> None:
    """The words that go to the board, on the emulated engine, against the integer network. Raises
    ModelError where they differ, which would be a defect of the compiler."""
    graph = compiled.graph
    if rows is None:
        tensor = graph.tensors[graph.input]
        draw = np.random.default_rng(0).integers(-128, 128, (TRIED, *artifact.input.shape))
        rows = (draw - tensor.zero_point) * np.float32(tensor.scale)
    few = np.resize(rows, (TRIED, *rows.shape[1:]))
    engine = EmulatedEngine(artifact.shape)
    engine.send(artifact.load)
    (beats,) = engine.send(artifact.run_packet(artifact.quantise(few)))
    found = artifact.unpack(beats.reshape(TRIED, -1))
    expected = as_the_model(graph, reference.run(graph, integers(graph, few))[graph.output])
    if (found.reshape(expected.shape) != expected).any():
        raise ModelError(
            "the program does not compute what the model does: this is a defect of Inferry, please"
            " report it with the model"
        )


def _report(compiled: Compiled, artifact: Artifact, board: str, calibration: int) -> reports.Report:
    bits = artifact.bitstream
    return msgspec.convert(
        {
            **compiled.report.as_dict(),
            "name": artifact.name,
            "hardware": {
                "board": board,
                "part": bits.part,
                "provenance": bits.provenance,
                "lanes": artifact.shape.n,
                "build": artifact.build,
                "clock_mhz": bits.clock_mhz,
            },
            "max_batch": artifact.max_batch,
            "cma_bytes": artifact.cma_bytes,
            "tail": artifact.tail,
            "calibration": calibration,
            "tried": TRIED,
        },
        reports.Report,
    )
