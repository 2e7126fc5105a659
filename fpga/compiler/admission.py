"""What is refused of a float model before onnxruntime runs it for the calibration: that takes long,
and an operator may ask for any amount of memory.

An operator may be one of the engine's, or one that is gone when constants are folded. Whether it is
really gone shows when the quantised model is imported.
"""

from __future__ import annotations

import onnx

from fpga.compiler.onnx_file import named
from fpga.compiler.onnx_import import SUPPORTED
from fpga.errors import ModelError

TAKEN = frozenset(
    (
        "Gemm", "MatMul", "Conv", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
        "ReduceMean", "Add", "Concat", "Flatten", "Reshape", "Squeeze", "Transpose", "Softmax",
        "Sigmoid", "ArgMax",
    )
)  # fmt: skip
FOLDED = frozenset(
    (
        "BatchNormalization", "Cast", "Constant", "Div", "Dropout", "Gather", "Identity", "Mul",
        "Neg", "Pad", "Pow", "Reciprocal", "Shape", "Slice", "Sqrt", "Sub", "Unsqueeze",
    )
)  # fmt: skip


def admit(model: onnx.ModelProto) -> None:
    """Raises ModelError, naming the first node that can never be compiled."""
    for node in model.graph.node:
        if (node.domain, node.op_type) == ("ai.onnx.ml", "Scaler"):
            continue
        if node.domain not in ("", "ai.onnx") or node.op_type not in TAKEN | FOLDED:
            raise ModelError(f"{named(node)} is not supported; what is: {SUPPORTED}")
    given = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        kind = value.type.tensor_type.elem_type
        if value.name not in given and kind != onnx.TensorProto.FLOAT:
            name = onnx.TensorProto.DataType.Name(kind).lower()
            raise ModelError(f"input {value.name} is {name}: float inputs are needed")
