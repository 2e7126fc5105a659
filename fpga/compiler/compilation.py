"""From an ONNX model to an artifact: quantise, import, prove, lower, pack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fpga.artifact import INPUT, Artifact, Port
from fpga.compiler.graph import Graph
from fpga.compiler.lowering import Program, lower
from fpga.compiler.onnx_import import import_graph
from fpga.compiler.proofs import prove
from fpga.compiler.quantisation import quantise
from fpga.compiler.report import Report, layer_cost, report
from fpga.errors import ModelError
from fpga.isa.shape import LARGE, EngineShape

Array = Any
MOST_PACKET_BYTES = 4 << 20
MOST_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Options:
    """``reduce_range``: weights of 7 bits, so that CPUs agree (see quantisation). ``allow_host``: a
    Softmax or ArgMax at the end is left to the host."""

    shape: EngineShape = LARGE
    reduce_range: bool = True
    allow_host: bool = False
    build: str = ""


@dataclass(frozen=True, slots=True)
class Compiled:
    """``model``: the quantised ONNX that the answers agree with."""

    artifact: Artifact
    report: Report
    graph: Graph
    program: Program
    model: onnx.ModelProto


def compile_model(
    source: Path | onnx.ModelProto, calibration: Array | None, options: Options | None = None
) -> Compiled:
    """A model for the engine.

    source: float (then calibration is needed: real inputs [rows, ...]) or quantised already.
    Raises ModelError and CapacityError, each saying what to do.
    """
    options = options or Options()
    model = _read(source)
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        if calibration is None:
            raise ModelError(
                "a float model needs calibration: a file with a hundred or more real inputs"
            )
        model = quantise(model, calibration, reduce_range=options.reduce_range)
    graph = import_graph(model, allow_host=options.allow_host)
    proof = prove(graph)
    program = lower(graph, options.shape)
    cycles = _cycles(graph, program, options.shape)
    made = _artifact(graph, program, options, cycles)
    return Compiled(
        made, report(graph, program, options.shape, proof, cycles), graph, program, model
    )


def _read(source: Path | onnx.ModelProto) -> onnx.ModelProto:
    if isinstance(source, onnx.ModelProto):
        return source
    try:
        return onnx.load(source, load_external_data=False)
    except FileNotFoundError:
        raise ModelError(f"there is no {source.name}") from None
    except Exception as error:
        raise ModelError(f"{source.name} is no ONNX model: {type(error).__name__}") from None


def _cycles(graph: Graph, program: Program, shape: EngineShape) -> tuple[int, float]:
    """(latency, interval) without the pipeline's depth, until fpga/timing says it exactly."""
    whole = sum(layer_cost(graph, layer, shape).cycles for layer in program.layers)
    stream = len(program.stream)
    return max(whole, stream), float(max(whole, stream))


def _artifact(
    graph: Graph, program: Program, options: Options, cycles: tuple[int, float]
) -> Artifact:
    shape = options.shape
    ends = (
        _port(graph, graph.input, graph.input_name, 0),
        _port(graph, graph.output, graph.output_name, 1),
    )
    sample_bytes = 8 * (1 + ends[0].words(shape.n) * shape.word_beats + len(program.stream))
    batch = max(1, min(MOST_BATCH, MOST_PACKET_BYTES // sample_bytes))
    answer_bytes = 8 * ends[1].words(shape.n) * shape.word_beats
    buffers = 2 * (8 + batch * sample_bytes) + 2 * batch * answer_bytes
    return Artifact(
        name=graph.name, shape=shape, build=options.build, input=ends[0], output=ends[1],
        load=program.load, stream=program.stream, order=(INPUT, *range(program.blocks)),
        max_batch=batch, latency_cycles=cycles[0], interval_cycles=cycles[1],
        cma_bytes=buffers + program.load.nbytes, tail=graph.tail,
    )  # fmt: skip


def _port(graph: Graph, tensor: str, name: str, end: int) -> Port:
    found, layout = graph.tensors[tensor], graph.layouts[end]
    shape = found.shape[:1] if layout == "NC" else found.shape
    return Port(name, tuple(shape), layout, float(np.float32(found.scale)), found.zero_point)
