"""Models that give back inputs of every datatype of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, helper

ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
"""All but BF16: our engine has no way for text in and bfloat16 out of one model."""


def identity_model(path: Path) -> Path:
    """``out_D = in_D``, each [N,2], for each datatype D but BF16."""
    return _identity(path, ELEMENTS)


def bfloat16_model(path: Path) -> Path:
    """``out_BF16 = in_BF16``, [N,2]."""
    return _identity(path, {"BF16": TensorProto.BFLOAT16})


def _identity(path: Path, elements: Mapping[str, int]) -> Path:
    shape = ["N", 2]
    inputs = [helper.make_tensor_value_info(f"in_{n}", e, shape) for n, e in elements.items()]
    outputs = [helper.make_tensor_value_info(f"out_{n}", e, shape) for n, e in elements.items()]
    nodes = [helper.make_node("Identity", [f"in_{n}"], [f"out_{n}"]) for n in elements]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path
