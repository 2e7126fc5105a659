"""The end of a model that the host computes: Softmax, ArgMax, Sigmoid of what the engine gives."""

from __future__ import annotations

import onnx

from fpga.errors import ModelError

HOST = {"Softmax": "softmax", "ArgMax": "argmax", "Sigmoid": "sigmoid"}
"""Operators, and what fpga/artifact.py calls them."""


def split_tail(
    model: onnx.ModelProto, *, allow_host: bool
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """(the model without its end, the steps of the host in order).

    Raises ModelError where there is such an end and the host is not allowed to do it.
    """
    if len(model.graph.output) != 1:
        return model, ()
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    producers = {name: node for node in graph.node for name in node.output if name}
    ranks = _ranks(model)
    steps: list[str] = []
    end = graph.output[0].name
    while end in producers and producers[end].op_type in HOST:
        node = producers[end]
        name = f"node {node.name or node.output[0]!r} ({node.op_type})"
        if not allow_host:
            raise ModelError(
                f"{name}: the engine cannot do it; allow the host to, or leave it out of the model"
            )
        _check(node, name, ranks.get(node.input[0]))
        steps.append(HOST[node.op_type])
        graph.node.remove(node)
        end = node.input[0]
    if not steps:
        return model, ()
    output = onnx.helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, None)
    del graph.output[:]
    graph.output.append(output)
    return made, tuple(reversed(steps))


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Of the tensors whose sizes can be inferred."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # whoever reads the model next says what is wrong
        graph = model.graph
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }


def _check(node: onnx.NodeProto, name: str, rank: int | None) -> None:
    """The host works over axis 1; the last axis is that only of [N, C]."""
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type == "Sigmoid":
        return
    axis = attributes.get("axis", 0 if node.op_type == "ArgMax" else -1)
    if axis != 1 and (rank is None or axis != 1 - rank):
        of = f" of {rank}" if rank else ""
        raise ModelError(f"{name}: over axis 1, the channels, please, not {axis}{of}")
    if node.op_type == "ArgMax" and attributes.get("keepdims", 1):
        raise ModelError(f"{name}: without keepdims, please")
    if node.op_type == "ArgMax" and attributes.get("select_last_index", 0):
        raise ModelError(f"{name}: the first of equal values, please (select_last_index 0)")
