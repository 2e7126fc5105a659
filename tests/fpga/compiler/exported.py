"""Small models as PyTorch, Keras and scikit-learn write them, each with what one stumbles over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from benchmarks.fpga.models import Network

Array = Any
Maker = Callable[[], tuple[onnx.ModelProto, tuple[int, ...]]]
MODELS: dict[str, Maker] = {}
PICTURE = (3, 12, 12)


class Draft(Network):
    """With weights from a seed."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__(name, shape)
        self.draw = np.random.default_rng(len(name) + 7)

    def some(self, *shape: int, spread: float = 0.4) -> Array:
        return self.draw.normal(0, spread, shape).astype(np.float32)

    def weights(self, *shape: int) -> str:
        return self.constant(self.some(*shape))

    def filters(self, source: str, filters: int, inputs: int, size: int = 3, **more: Any) -> str:
        bias = self.some(filters)
        return self.conv(source, self.some(filters, inputs, size, size), bias, **more)

    def head(self, inputs: int, flatten: bool = True) -> onnx.ModelProto:
        """Four outputs of all that is there."""
        end = self.put("Flatten", self.end) if flatten else self.end
        self.gemm(end, self.some(4, inputs, spread=1 / np.sqrt(inputs)), self.some(4))
        return self.model(2)


def model(shape: tuple[int, ...] = PICTURE) -> Callable[[Callable[[Draft], onnx.ModelProto]], Any]:
    def keep(make: Callable[[Draft], onnx.ModelProto]) -> Any:
        name = make.__name__
        MODELS[name] = lambda: (make(Draft(name, shape)), shape)
        return make

    return keep


@model()
def dilated_and_grouped(net: Draft) -> onnx.ModelProto:
    end = net.filters("x", 6, 3, dilations=[2, 1], pads=[2, 0, 1, 1])
    net.put("Relu", net.filters(end, 9, 2, group=3))
    return net.head(9 * 11 * 11)


@model((4, 9, 11))
def depth_multiplier_and_uneven_strides(net: Draft) -> onnx.ModelProto:
    net.put("Relu", net.filters("x", 8, 1, group=4, strides=[3, 1], pads=[0, 2, 2, 1]))
    return net.head(8 * 3 * 12)


@model((3, 11, 13))
def same_padding(net: Draft) -> onnx.ModelProto:
    more = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    net.put("Relu", net.put("Conv", "x", net.weights(8, 3, 3, 3), net.weights(8), **more))
    more = {"auto_pad": "SAME_LOWER", "strides": [2, 2]}
    net.put("MaxPool", net.end, kernel_shape=[2, 3], **more)
    return net.head(8 * 3 * 4)


@model()
def ceil_mode(net: Draft) -> onnx.ModelProto:
    end = net.put("Relu", net.filters("x", 8, 3, pads=[0] * 4))
    net.put("MaxPool", end, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    return net.head(8 * 5 * 5)


@model()
def ceil_mode_that_ends_in_padding(net: Draft) -> onnx.ModelProto:
    more = {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1}
    net.put("MaxPool", net.filters("x", 8, 3), **more)
    made = net.head(8 * 4 * 4)
    made.opset_import[0].version = 22  # before, onnx says 5 where onnxruntime makes 4
    made.ir_version = 10
    return made


@model()
def maxima_below_zero(net: Draft) -> onnx.ModelProto:
    net.conv("x", net.some(8, 3, 3, 3), np.full(8, -9.0))
    net.put("MaxPool", net.end, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return net.head(8 * 36)


@model()
def padding_that_counts(net: Draft) -> onnx.ModelProto:
    more = {"kernel_shape": [3, 3], "strides": [2, 2], "count_include_pad": 1}
    net.put("AveragePool", net.filters("x", 8, 3), pads=[1, 0, 0, 1], **more)
    return net.head(8 * 36)


@model()
def pool_before_relu(net: Draft) -> onnx.ModelProto:
    net.put("Relu", net.put("MaxPool", net.filters("x", 8, 3), kernel_shape=[2, 2], strides=[2, 2]))
    net.put("Relu", net.put("Flatten", net.filters(net.end, 4, 8)))
    return net.head(4 * 36, flatten=False)


@model()
def pools_first(net: Draft) -> onnx.ModelProto:
    net.put("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
    net.put("Relu", net.filters(net.end, 8, 3))
    return net.head(8 * 36)


@model()
def relu_first(net: Draft) -> onnx.ModelProto:
    net.put("Clip", "x", net.constant(np.float32(-0.3)), net.constant(np.float32(0.9)))
    net.put("Relu", net.filters(net.end, 8, 3))
    return net.head(8 * 144)


@model((8,))
def limits_that_int8_does_not_have(net: Draft) -> onnx.ModelProto:
    def limit(value: float) -> str:
        return net.constant(np.float32(value))

    net.put("Clip", net.gemm("x", net.some(16, 8), net.some(16)), limit(0.1), "")
    net.put("Clip", net.gemm(net.end, net.some(16, 16), net.some(16)), limit(-2), limit(-0.5))
    net.put("Clip", net.put("Clip", net.end, limit(-1), limit(5)), limit(0.5), limit(-0.6))
    net.put("Relu", net.put("Add", net.end, limit(0.9)))
    return net.head(16, flatten=False)


@model()
def relu6_around_adds(net: Draft) -> onnx.ModelProto:
    limits = [net.constant(np.float32(each)) for each in (0, 1)]
    first = net.put("Clip", net.filters("x", 8, 3), *limits)
    second = net.put("Clip", net.filters(first, 8, 8), *limits)
    both = net.put("Clip", net.put("Add", first, second), *limits)
    net.put("Add", both, net.filters(both, 8, 8))
    net.put("GlobalAveragePool", net.end)
    return net.head(8)


@model()
def preactivation(net: Draft) -> onnx.ModelProto:
    start = net.filters("x", 8, 3)
    norm = [net.constant(np.abs(net.some(8)) + 0.3) for _ in range(4)]
    net.put("Relu", net.put("BatchNormalization", start, *norm))
    net.put("Add", net.filters(net.end, 8, 8), start)
    net.put("ReduceMean", net.end, axes=[-1, -2], keepdims=0)
    return net.head(8, flatten=False)


@model()
def normalised_inputs(net: Draft) -> onnx.ModelProto:
    net.put("Sub", "x", net.weights(1, 3, 1, 1))
    net.put("Div", net.end, net.constant(np.array([0.5, 0.7, 0.9], np.float32).reshape(3, 1, 1)))
    net.put("Relu", net.filters(net.end, 8, 3))
    net.put("Mul", net.filters(net.end, 8, 8), net.constant(np.float32(0.25)))
    net.put("Sub", net.constant(np.float32(1)), net.end)
    return net.head(8 * 144)


@model((8,))
def standard_scaler(net: Draft) -> onnx.ModelProto:
    net.put("Sub", "x", net.weights(1, 8))
    net.put("Div", net.end, net.constant(np.abs(net.some(8)) + 0.5))
    norm = [net.constant(np.abs(net.some(16)) + 0.3) for _ in range(4)]
    net.put("BatchNormalization", net.gemm(net.end, net.some(16, 8), net.some(16)), *norm)
    net.put("Relu", net.end)
    return net.head(16, flatten=False)


@model()
def padded_before(net: Draft) -> onnx.ModelProto:
    pads = net.constant(np.array([0, 0, 0, 1, 0, 0, 1, 0], np.int64))
    net.put("Relu", net.filters(net.put("Pad", "x", pads), 8, 3, pads=[0] * 4, strides=[2, 2]))
    return net.head(8 * 6 * 6)


@model((12, 12, 3))
def channels_last(net: Draft) -> onnx.ModelProto:
    net.put("Mul", "x", net.constant(np.array([0.5, 1, 2], np.float32)))
    net.put("Add", net.end, net.constant(np.float32(-0.3)))
    net.put("Relu", net.filters(net.put("Transpose", net.end, perm=[0, 3, 1, 2]), 8, 3))
    net.put("MaxPool", net.end, kernel_shape=[2, 2], strides=[2, 2])
    net.put("Transpose", net.end, perm=[0, 2, 3, 1])
    net.put("Reshape", net.end, net.constant(np.array([-1, 288], np.int64)))
    net.put("MatMul", net.end, net.constant(net.some(288, 4, spread=0.06)))
    net.put("Softmax", net.put("Add", net.end, net.weights(4)), axis=-1)
    return net.model(2)


@model((6, 5, 3))
def channels_last_to_the_end(net: Draft) -> onnx.ModelProto:
    end = net.put("Transpose", "x", perm=[0, 3, 1, 2])
    parts = [
        net.put("Transpose", net.put("Relu", net.filters(end, 8, 3)), perm=[0, 2, 3, 1])
        for _ in range(2)
    ]
    net.put("Concat", *parts, axis=-1)
    return net.model(4)


@model((6, 5, 3))
def channels_last_and_flat(net: Draft) -> onnx.ModelProto:
    net.put("Relu", net.filters(net.put("Transpose", "x", perm=[0, 3, 1, 2]), 9, 3))
    net.put("Flatten", net.put("Transpose", net.end, perm=[0, 2, 3, 1]))
    return net.model(2)


@model()
def squeezed(net: Draft) -> onnx.ModelProto:
    net.put("GlobalAveragePool", net.put("Relu", net.filters("x", 8, 3)))
    net.put("Squeeze", net.end, net.constant(np.array([3], np.int64)))
    net.put("Squeeze", net.end, net.constant(np.array([-1], np.int64)))
    net.put("Dropout", net.put("Identity", net.end))
    return net.head(8, flatten=False)


@model()
def one_sample_at_a_time(net: Draft) -> onnx.ModelProto:
    net.put("Relu", net.filters("x", 8, 3))
    net.put("Reshape", net.end, net.constant(np.array([1, -1], np.int64)))
    return of_batch(net.head(8 * 144, flatten=False), 1)


@model()
def four_samples_at_a_time(net: Draft) -> onnx.ModelProto:
    net.put("Relu", net.filters("x", 8, 3))
    net.put("Reshape", net.end, net.constant(np.array([4, 1152], np.int64)))
    return of_batch(net.head(8 * 144, flatten=False), 4)


@model()
def operators_of_version_11(net: Draft) -> onnx.ModelProto:
    net.put("MaxPool", net.put("Relu", net.filters("x", 8, 3)), kernel_shape=[2, 2], strides=[2, 2])
    made = net.head(8 * 36)
    made.opset_import[0].version = 11
    return made


@model((8,))
def factors_of_a_gemm(net: Draft) -> onnx.ModelProto:
    net.put("Gemm", "x", net.weights(8, 16), net.weights(1, 16), alpha=0.5, beta=2.0)
    net.put("Gemm", net.put("Relu", net.end), net.weights(16, 9), net.constant(np.float32(0.3)))
    return net.head(9, flatten=False)


@model((8,))
def channels_that_are_dead(net: Draft) -> onnx.ModelProto:
    weight, bias = net.some(16, 8), net.some(16)
    weight[2] = 0
    weight[3], bias[3] = 1e-7, 2.5  # its bias is billions of steps of its weights
    bias[4] = -100  # its Relu gives 0 only
    net.put("Relu", net.gemm("x", weight, bias))
    return net.head(16, flatten=False)


@model((8,))
def relus_that_give_nothing(net: Draft) -> onnx.ModelProto:
    net.put("Relu", net.gemm("x", net.some(8, 8), np.full(8, -100.0)))
    return net.head(8, flatten=False)


@model((1, 1, 1))
def one_point(net: Draft) -> onnx.ModelProto:
    net.put("Relu", net.filters("x", 1, 1, 1))
    net.put("Flatten", net.filters(net.end, 1, 1, 1))
    return net.model(2)


@model()
def concat_of_one_twice(net: Draft) -> onnx.ModelProto:
    first = net.put("Relu", net.filters("x", 8, 3))
    net.put("Concat", first, first, net.filters("x", 5, 3), axis=-3)
    net.put("GlobalAveragePool", net.end)
    return net.head(21)


@model()
def maps_to_classes(net: Draft) -> onnx.ModelProto:
    net.put("Softmax", net.filters("x", 5, 3), axis=1)
    return net.model(4)


def of_batch(made: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """For so many samples only."""
    for value in (made.graph.input[0], made.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return made
