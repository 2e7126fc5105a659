"""Networks that tests of the FPGA compile: trained on scikit-learn's digits, or from a seed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = Any
FOLDER = Path(__file__).parent
OPSET = 17


class Network:
    """Writes an ONNX graph, one operator after the other."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.end = "x"

    def constant(self, values: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def put(self, kind: str, *inputs: str, **attributes: Any) -> str:
        out = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [*inputs], [out], name=out, **attributes))
        self.end = out
        return out

    def conv(
        self, source: str, weight: Array, bias: Array | None = None, stride: int = 1, **more: Any
    ) -> str:
        pad = weight.shape[2] // 2
        inputs = [source, self.constant(weight.astype(np.float32))]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32)))
        attributes = {"pads": [pad] * 4, "strides": [stride] * 2, **more}
        return self.put("Conv", *inputs, **attributes)

    def gemm(self, source: str, weight: Array, bias: Array) -> str:
        """weight: [out, in]."""
        inputs = self.constant(weight.astype(np.float32)), self.constant(bias.astype(np.float32))
        return self.put("Gemm", source, *inputs, transB=1)

    def model(self, rank: int) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.shape])],
            [
                helper.make_tensor_value_info(
                    self.end, TensorProto.FLOAT, ["N", *[None] * (rank - 1)]
                )
            ],
            self.constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        made.ir_version = 8
        return made


@cache
def digits() -> tuple[Array, Array]:
    """1,797 pictures of 8 x 8, values 0..1, and what they show."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target


@cache
def digits_28() -> Array:
    """The same pictures, 28 x 28: each point three times, and a frame of 2."""
    data, _ = digits()
    large = np.kron(data.reshape(-1, 8, 8), np.ones((1, 3, 3), np.float32))
    return np.pad(large, ((0, 0), (2, 2), (2, 2))).reshape(-1, 784)


def _trained(name: str, data: Array, hidden: tuple[int, ...]) -> onnx.ModelProto:
    from sklearn.neural_network import MLPClassifier

    _, target = digits()
    found = MLPClassifier(hidden, random_state=0, max_iter=200, tol=1e-3)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it could train on
        found.fit(data[:1437], target[:1437])
    net = Network(name, (data.shape[1],))
    end = "x"
    for number, (weight, bias) in enumerate(zip(found.coefs_, found.intercepts_, strict=True)):
        end = net.gemm(end, weight.T, bias)
        if number < len(found.coefs_) - 1:
            end = net.put("Relu", end)
    return net.model(2)


@cache
def digits_mlp() -> onnx.ModelProto:
    """64-32-10, trained."""
    return _trained("digits-mlp", digits()[0], (32,))


@cache
def wide_mlp() -> onnx.ModelProto:
    """784-64-64-64-10, trained."""
    return _trained("wide-mlp", digits_28(), (64, 64, 64))


def digits_cnn() -> onnx.ModelProto:
    """Two convolutions and a layer on 1 x 8 x 8, trained by examples/fpga/train_digits_cnn.py."""
    with np.load(FOLDER / "digits_cnn.npz") as found:
        parts = {name: found[name].astype(np.float32) for name in found.files}
    net = Network("digits-cnn", (1, 8, 8))
    end = net.put("Relu", net.conv("x", parts["w1"], parts["b1"]))
    end = net.put("MaxPool", end, kernel_shape=[2, 2], strides=[2, 2])
    end = net.put("Relu", net.conv(end, parts["w2"], parts["b2"]))
    end = net.put("Flatten", end, axis=1)
    net.gemm(end, parts["w3"], parts["b3"])
    return net.model(2)


def _drawn(draw: np.random.Generator, outputs: int, inputs: int, size: int) -> Array:
    """He's initialisation: values keep their size through the network."""
    return draw.normal(0, np.sqrt(2 / (inputs * size * size)), (outputs, inputs, size, size))


def resnet(
    name: str, sizes: tuple[int, ...], blocks: int, *, picture: int, seed: int = 0
) -> onnx.ModelProto:
    """A CIFAR ResNet with projections: `blocks` blocks at each size. Weights from a seed, as batch
    normalisation leaves them when it is folded."""
    draw = np.random.default_rng(seed)
    net = Network(name, (3, picture, picture))
    channels = sizes[0]
    end = net.put(
        "Relu", net.conv("x", _drawn(draw, channels, 3, 3), draw.normal(0, 0.1, channels))
    )
    for size in sizes:
        for block in range(blocks):
            stride = 2 if size != sizes[0] and block == 0 else 1
            before = end
            inner = net.conv(
                end, _drawn(draw, size, channels, 3), draw.normal(0, 0.1, size), stride
            )
            inner = net.put("Relu", inner)
            inner = net.conv(inner, 0.5 * _drawn(draw, size, size, 3), draw.normal(0, 0.1, size))
            if channels != size:
                before = net.conv(before, 0.7 * _drawn(draw, size, channels, 1), None, stride)
            end = net.put("Relu", net.put("Add", inner, before))
            channels = size
    end = net.put("GlobalAveragePool", end)
    end = net.put("Flatten", end, axis=1)
    net.gemm(end, _drawn(draw, 10, channels, 1)[:, :, 0, 0], np.zeros(10))
    return net.model(2)


@cache
def resnet_20() -> onnx.ModelProto:
    """ResNet-20's shape on 3 x 32 x 32, weights from a seed."""
    return resnet("resnet-20", (16, 32, 64), 3, picture=32)


def pictures(samples: int, channels: int, size: int, seed: int = 1) -> Array:
    """Smooth random pictures, values about -1..1."""
    draw = np.random.default_rng(seed)
    coarse = draw.normal(0, 1, (samples, channels, -(-size // 4), -(-size // 4)))
    fine = np.kron(coarse, np.ones((1, 1, 4, 4)))[:, :, :size, :size]
    return (fine + draw.normal(0, 0.3, fine.shape)).astype(np.float32) / 2


@cache
def streamed_resnet() -> onnx.ModelProto:
    """Residual adds, and more weights than a small engine holds."""
    return resnet("streamed-resnet", (16, 32), 1, picture=8, seed=3)
