"""From ONNX to a graph: the quantised model, run by onnxruntime as it is, gives the graph's values.

That model is float32 between its QuantizeLinears, whose sums onnxruntime rounds: so an output may
be a step off here and there. The integer kernels (the Oracle) leave no such room.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from benchmarks.fpga.models import Network
from benchmarks.fpga.oracle import Oracle
from fpga.compiler import reference
from fpga.compiler.accuracy import integers
from fpga.compiler.compilation import Compiled, Options, compile_model
from fpga.compiler.graph import Average, Conv, Graph
from fpga.emulator import EmulatedEngine
from fpga.errors import CapacityError
from fpga.isa.shape import EngineShape

Array = Any
SHAPE = EngineShape(n=8, rq=4, w_words=1500, p_words=512, d_words=64,
                    x_words=1024, a_words=1024, b_words=1024)  # fmt: skip


def as_it_is(model: onnx.ModelProto, graph: Graph, rows: Array, *, is_optimised: bool) -> Array:
    """int64 of the output, by onnxruntime from the model itself."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if is_optimised else levels.ORT_DISABLE_ALL
    )
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    real = session.run(None, {session.get_inputs()[0].name: rows})[0]
    end = graph.tensors[graph.output]
    whole = np.rint(real / np.float32(end.scale)).astype(np.int64) + end.zero_point
    return whole.reshape(len(rows), -1)


def on_the_engine(compiled: Compiled, rows: Array) -> Array:
    engine = EmulatedEngine(compiled.artifact.shape)
    engine.send(compiled.artifact.load)
    (beats,) = engine.send(compiled.artifact.run_packet(compiled.artifact.quantise(rows)))
    return compiled.artifact.unpack(beats.reshape(len(rows), -1)).reshape(len(rows), -1)


def random_model(seed: int) -> onnx.ModelProto:
    """Two or three layers with pads that differ, strides, groups, limits and pools, in float."""
    draw = np.random.default_rng(seed)
    net = Network(f"net{seed}", (4, 9, 10))
    top, left, low, right = (int(each) for each in draw.integers(0, 3, 4))
    weight = draw.normal(0, 0.3, (int(draw.integers(3, 20)), 4, 3, 3))
    end = net.conv(
        "x", weight, draw.normal(0, 0.3, len(weight)), stride=int(draw.integers(1, 3)),
        pads=[top, left, low, right],
    )  # fmt: skip
    way = seed % 4
    if way == 1:
        limits = [net.constant(np.float32(each)) for each in (-0.5, 0.75)]
        end = net.put("Clip", end, *limits)
    elif way > 1:
        end = net.put("Relu", end)
    pool = ("MaxPool", "AveragePool", None)[seed % 3]
    if pool:
        end = net.put(pool, end, kernel_shape=[2, 3], strides=[1, 2])
    if seed % 5 < 2:
        deep = draw.normal(0, 0.4, (len(weight), 1, 3, 3))
        end = net.conv(end, deep, draw.normal(0, 0.3, len(weight)), group=len(weight))
    if seed % 2:
        end = net.put("GlobalAveragePool", end)
        last = draw.normal(0, 0.5, (5, len(weight), 1, 1))
        net.put("Flatten", net.conv(end, last), axis=1)
        return net.model(2)
    net.conv(end, draw.normal(0, 0.5, (6, len(weight), 1, 1)))
    return net.model(4)


@pytest.mark.parametrize("seed", range(24))
def test_random_float_models(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(0, 1, (96, 4, 9, 10)).astype(np.float32)
    compiled = compile_model(random_model(seed), rows[:64], Options(shape=SHAPE))
    graph, held_out = compiled.graph, rows[64:]
    whole = integers(graph, held_out)
    plain, theirs = reference.run(graph, whole), Oracle(graph).run(whole)
    output = plain[graph.output].reshape(len(held_out), -1)
    is_exact = True
    for node in graph.nodes:
        off = np.abs(plain[node.target].astype(int) - theirs[node.target])
        if isinstance(node, Average) and "averagepool" in node.name.split("global")[0]:
            # Averages of windows it makes in float32, where halves fall to either side.
            assert off.max() <= 1
            assert (off > 0).mean() < 0.06
            is_exact = False
        elif is_exact:
            assert not off.any(), node.name
    for is_optimised in (False, True) if is_exact else ():
        found = as_it_is(compiled.model, graph, held_out, is_optimised=is_optimised)
        assert np.abs(found - output).max() <= 1
        assert (found != output).mean() < 0.005
    assert (on_the_engine(compiled, held_out) == output).all()
    assert len(np.unique(output)) > 20


def dense_rows(width: int = 12) -> Array:
    return np.random.default_rng(1).normal(0, 1, (64, width)).astype(np.float32)


def test_matmul_and_add_are_one_layer() -> None:
    draw = np.random.default_rng(3)
    net = Network("matmul", (12,))
    end = net.put("MatMul", "x", net.constant(draw.normal(0, 1, (12, 9)).astype(np.float32)))
    end = net.put("Add", end, net.constant(draw.normal(0, 1, 9).astype(np.float32)))
    net.put("MatMul", net.put("Relu", end), net.constant(np.float32(draw.normal(0, 1, (9, 4)))))
    compiled = compile_model(net.model(2), dense_rows(), Options(shape=SHAPE))
    first, second = compiled.graph.nodes
    assert isinstance(first, Conv)
    assert isinstance(second, Conv)
    assert first.bias.any()
    assert not second.bias.any()
    rows = dense_rows()
    found = as_it_is(compiled.model, compiled.graph, rows, is_optimised=False)
    assert (on_the_engine(compiled, rows) == found).mean() > 0.99


def test_a_foreign_model_with_unsigned_activations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # quantize_static's default of other tools: uint8 activations, one scale for all weights.
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    draw, rows = np.random.default_rng(4), dense_rows()
    net = Network("foreign", (12,))
    end = net.put("Relu", net.gemm("x", draw.normal(0, 1, (9, 12)), draw.normal(0, 1, 9)))
    net.gemm(end, draw.normal(0, 1, (4, 9)), np.zeros(4))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"x": rows}]

        def get_next(self) -> dict[str, Array] | None:
            return self.left.pop() if self.left else None

    source, made = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(net.model(2), source)
    with caplog.at_level("ERROR"):  # it advises on the root logger
        quantize_static(
            source, made, Reader(), quant_format=QuantFormat.QDQ, per_channel=False,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True,
        )  # fmt: skip
    compiled = compile_model(made, None, Options(shape=SHAPE))
    assert compiled.artifact.input.zero_point < 127
    found = as_it_is(compiled.model, compiled.graph, rows, is_optimised=True)
    assert (on_the_engine(compiled, rows) == found).all()


def test_weights_that_are_stored_as_float_before_their_quantizelinear() -> None:
    draw = np.random.default_rng(5)
    net = Network("qat", (12,))
    weight = draw.normal(0, 1, (4, 12)).astype(np.float32)
    one = [net.constant(np.float32(0.03)), net.constant(np.int8(5))]
    ends = [net.constant(np.float32(0.2)), net.constant(np.int8(-7))]
    scale = net.constant((np.abs(weight).max(axis=1) / 64).astype(np.float32))
    zero = net.constant(np.zeros(4, np.int8))
    x = net.put("DequantizeLinear", net.put("QuantizeLinear", "x", *one), *one)
    w = net.put("QuantizeLinear", net.constant(weight), scale, zero, axis=0)
    w = net.put("DequantizeLinear", w, scale, zero, axis=0)
    end = net.put("Gemm", x, w, transB=1)
    net.put("DequantizeLinear", net.put("QuantizeLinear", end, *ends), *ends)
    compiled = compile_model(net.model(2), None, Options(shape=SHAPE))
    (node,) = compiled.graph.nodes
    assert isinstance(node, Conv)
    assert int(np.abs(node.weight).max()) == 64
    rows = dense_rows()
    found = as_it_is(compiled.model, compiled.graph, rows, is_optimised=False)
    assert (on_the_engine(compiled, rows) == found).all()


def test_channels_one_after_another() -> None:
    draw = np.random.default_rng(9)
    net = Network("concat", (4, 9, 10))
    first = net.put("Relu", net.conv("x", draw.normal(0, 0.3, (8, 4, 3, 3))))
    second = net.conv("x", draw.normal(0, 0.9, (5, 4, 1, 1)))
    end = net.put("Concat", first, second, axis=1)
    end = net.conv(end, draw.normal(0, 0.2, (6, 13, 3, 3)))
    last = net.put("Concat", net.conv(end, draw.normal(0, 0.3, (8, 6, 1, 1))), end, axis=1)
    assert last == net.end
    rows = draw.normal(0, 1, (130, 4, 9, 10)).astype(np.float32)
    compiled = compile_model(net.model(4), rows[:100], Options(shape=SHAPE))
    graph, rows = compiled.graph, rows[100:]
    whole = integers(graph, rows)
    plain, theirs = reference.run(graph, whole), Oracle(graph).run(whole)
    for node in graph.nodes:
        assert (plain[node.target] == theirs[node.target]).all(), node.name
    output = plain[graph.output].reshape(len(rows), -1)
    assert (on_the_engine(compiled, rows) == output).all()
    found = as_it_is(compiled.model, graph, rows, is_optimised=False)
    assert np.abs(found - output).max() <= 1
    with pytest.raises(CapacityError, match="multiple of 16"):
        compile_model(compiled.model, None, Options(shape=replace(SHAPE, n=16)))


def test_what_leads_nowhere_is_left_out() -> None:
    draw = np.random.default_rng(6)
    net = Network("dead", (12,))
    end = net.gemm("x", draw.normal(0, 1, (4, 12)), np.zeros(4))
    net.gemm("x", draw.normal(0, 1, (7, 12)), np.zeros(7))
    net.end = end
    compiled = compile_model(net.model(2), dense_rows(), Options(shape=SHAPE))
    assert len(compiled.graph.nodes) == 1


def test_an_output_that_is_a_flat_picture() -> None:
    draw = np.random.default_rng(7)
    net = Network("flat", (4, 9, 10))
    end = net.conv("x", draw.normal(0, 0.3, (3, 4, 3, 3)))
    net.put("Flatten", end, axis=1)
    rows = draw.normal(0, 1, (40, 4, 9, 10)).astype(np.float32)
    compiled = compile_model(net.model(2), rows, Options(shape=SHAPE))
    assert compiled.artifact.tail == ("flatten",)
    found = as_it_is(compiled.model, compiled.graph, rows, is_optimised=False)
    differ = on_the_engine(compiled, rows) != found
    assert differ.mean() < 0.005


def test_a_picture_that_goes_out_in_parts_is_copied_whole() -> None:
    draw = np.random.default_rng(8)
    net = Network("parts", (4, 5, 5))
    net.conv("x", draw.normal(0, 0.3, (40, 4, 3, 3)))
    rows = draw.normal(0, 1, (40, 4, 5, 5)).astype(np.float32)
    tight = EngineShape(n=8, rq=4, w_words=31, p_words=128, d_words=64,
                        x_words=64, a_words=256, b_words=64)  # fmt: skip
    compiled = compile_model(net.model(4), rows, Options(shape=tight))
    assert compiled.program.blocks > 1
    whole = reference.run(compiled.graph, integers(compiled.graph, rows))[compiled.graph.output]
    assert (on_the_engine(compiled, rows) == whole.reshape(len(rows), -1)).all()


def test_a_scale_of_weights_may_be_stored_for_each_channel_or_once() -> None:
    net = Network("one", (12,))
    net.gemm("x", np.eye(4, 12), np.zeros(4))
    compiled = compile_model(net.model(2), dense_rows(), Options(shape=SHAPE))
    (node,) = compiled.graph.nodes
    assert isinstance(node, Conv)
    assert node.scale.shape == (4,)
    found = next(i for i in compiled.model.graph.initializer if i.name == "c0_scale")
    assert numpy_helper.to_array(found).size in (1, 4)
