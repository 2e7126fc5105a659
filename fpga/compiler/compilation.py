"""From an ONNX model to an artifact: quantise, import, prove, lower, pack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fpga.artifact import INPUT, MOST_DMA_BYTES, Artifact, Port
from fpga.compiler.accuracy import compare
from fpga.compiler.graph import Graph
from fpga.compiler.lowering import Program, lower
from fpga.compiler.onnx_import import import_graph
from fpga.compiler.proofs import prove
from fpga.compiler.quantisation import quantise
from fpga.compiler.report import Report, report
from fpga.compiler.tail import split_tail
from fpga.errors import CapacityError, FpgaError, ModelError
from fpga.isa.shape import LARGE, EngineShape
from fpga.timing import Prediction, predict

Array = Any
MOST_PACKET_BYTES = 4 << 20
MOST_BATCH = 1024
MOST_MODEL_BYTES = 256 << 20
LEAST_OPSET = 10  # QuantizeLinear came with it


@dataclass(frozen=True, slots=True)
class Options:
    """``reduce_range``: weights of 7 bits, so that CPUs agree (see quantisation). ``allow_host``: a
    Softmax, Sigmoid or ArgMax at the end is left to the host. ``build``: of the hardware that it is
    for, 32 hexadecimal digits, or "". ``max_batch``: most samples of a run, less where
    their packet would be too long."""

    shape: EngineShape = LARGE
    reduce_range: bool = True
    allow_host: bool = False
    build: str = ""
    max_batch: int = MOST_BATCH


@dataclass(frozen=True, slots=True)
class Compiled:
    """``model``: the quantised ONNX that the answers agree with."""

    artifact: Artifact
    report: Report
    graph: Graph
    program: Program
    model: onnx.ModelProto


def compile_model(
    source: Path | onnx.ModelProto,
    calibration: Array | None = None,
    options: Options | None = None,
    held_out: tuple[Array, Array | None] | None = None,
    say: Callable[[str], None] = lambda phase: None,
) -> Compiled:
    """A model for the engine.

    source: float (then calibration is needed: real inputs [rows, ...]) or quantised already.
    held_out: (inputs, labels or None) that the report compares float and int8 on; for a float
    source only. say: is told of each phase that may take long. Raises ModelError and CapacityError,
    each saying what to do.
    """
    options = options or Options()
    model, tail = split_tail(read_model(source), allow_host=options.allow_host)
    quantised, is_float = model, not is_quantised(model)
    _check_layers(model, options.shape)
    if is_float:
        if calibration is None:
            raise ModelError(
                "a float model needs calibration: a file with a hundred or more real inputs"
            )
        say(f"Quantising, with {len(calibration)} inputs")
        quantised = quantise(model, calibration, reduce_range=options.reduce_range)
    graph = import_graph(quantised)
    graph = replace(graph, tail=(*graph.tail, *tail))
    say("Proving that no sum overflows, and how each is rounded")
    proof = prove(graph)
    say("Placing layers and weights")
    program = lower(graph, options.shape)
    whole = artifact_of(graph, program, options.shape, options.build, options.max_batch)
    say("Counting clocks")
    made, timing = _timed(whole, program)
    accuracy = None
    if held_out and is_float:
        say(f"Comparing float and int8 on {len(held_out[0])} inputs")
        accuracy = compare(model, graph, *held_out)
    found = report(graph, program, options.shape, proof, timing, made.interval_cycles, accuracy)
    return Compiled(made, found, graph, program, quantised)


def read_model(source: Path | onnx.ModelProto) -> onnx.ModelProto:
    """Read, and checked. Raises ModelError and CapacityError."""
    return _checked(_read(source))


def input_of(model: onnx.ModelProto) -> tuple[str, tuple[int | None, ...]]:
    """Name and shape, without the batch, of a model's one input; None: any size. Raises
    ModelError."""
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    if len(inputs) != 1:
        raise ModelError(f"a model with one input is needed, not with {len(inputs)}")
    sizes = inputs[0].type.tensor_type.shape.dim
    return inputs[0].name, tuple(size.dim_value or None for size in sizes[1:])


def _check_layers(model: onnx.ModelProto, shape: EngineShape) -> None:
    """Before anything takes long."""
    layers = sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in model.graph.node)
    if layers > shape.d_words:
        raise CapacityError(
            f"{layers} layers; the engine holds {shape.d_words}: an engine with larger d_words is"
            " needed"
        )


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether it came so, with QuantizeLinear in it."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _read(source: Path | onnx.ModelProto) -> onnx.ModelProto:
    if isinstance(source, onnx.ModelProto):
        return source
    try:
        if source.stat().st_size > MOST_MODEL_BYTES:
            raise CapacityError(f"{source.name} is larger than {MOST_MODEL_BYTES >> 20} MiB")
        return onnx.load(source, load_external_data=False)
    except FileNotFoundError:
        raise ModelError(f"there is no {source.name}") from None
    except FpgaError:
        raise
    except Exception as error:
        raise ModelError(f"{source.name} is no ONNX model: {type(error).__name__}") from None


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """What no step after this one needs to look at again."""
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(
                "a model with its weights in other files: save it as one file"
                " (torch.onnx.export with external_data=False)"
            )
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise ModelError(f"the model breaks ONNX's rules: {reason}") from None
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < LEAST_OPSET:
        raise ModelError(f"operators of version {opset}; {LEAST_OPSET} or later is needed")
    return model


def _timed(artifact: Artifact, program: Program) -> tuple[Artifact, Prediction]:
    """With the clocks that the engine will take, when the stream brings a beat in each."""
    depth = 1 + max(layer.stage for layer in program.descriptors)
    samples = (1, depth + 2, depth + 4)  # the last two differ by an even and an odd sample
    beats = artifact.input_words * artifact.shape.word_beats
    first, some, more = (
        predict(
            artifact.shape, program.descriptors, artifact.run_packet(np.zeros((b, beats), "<u8"))
        )
        for b in samples
    )
    interval = (more.cycles - some.cycles) / (samples[2] - samples[1])
    return replace(artifact, latency_cycles=first.cycles, interval_cycles=interval), first


def artifact_of(
    graph: Graph,
    program: Program,
    shape: EngineShape,
    build: str = "",
    max_batch: int = MOST_BATCH,
) -> Artifact:
    """Without clocks."""
    made = Artifact(
        name=graph.name, shape=shape, build=build,
        input=_port(graph, graph.input, graph.input_name, 0),
        output=_port(graph, graph.output, graph.output_name, 1),
        load=program.load, stream=program.stream, order=(INPUT, *range(program.blocks)),
        max_batch=1, latency_cycles=0, interval_cycles=0.0, cma_bytes=0, tail=graph.tail,
    )  # fmt: skip
    sample_bytes = made.run_bytes(1) - made.run_bytes(0)
    for name, size in (("program", program.load.nbytes), ("sample", made.run_bytes(1))):
        if size > MOST_DMA_BYTES:
            raise CapacityError(
                f"the {name} takes {size >> 20} MiB, and a transfer at most"
                f" {MOST_DMA_BYTES + 1 >> 20} MiB: a smaller network is needed"
            )
    batch = max(1, min(max_batch, MOST_BATCH, MOST_PACKET_BYTES // sample_bytes))
    answer_bytes = 8 * made.output_words * shape.word_beats
    buffers = 2 * made.run_bytes(batch) + 2 * batch * answer_bytes
    return replace(made, max_batch=batch, cma_bytes=buffers + program.load.nbytes)


def _port(graph: Graph, tensor: str, name: str, end: int) -> Port:
    found, layout = graph.tensors[tensor], graph.layouts[end]
    channels, height, width = found.shape
    shape = {"NC": (channels,), "NHWC": (height, width, channels)}.get(layout, found.shape)
    return Port(name, tuple(shape), layout, float(np.float32(found.scale)), found.zero_point)
