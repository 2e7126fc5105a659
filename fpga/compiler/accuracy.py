"""What int8 costs: the float model beside the compiled one, on inputs that neither has seen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from fpga.compiler import reference
from fpga.compiler.batches import batch_of, batches
from fpga.compiler.graph import Graph
from fpga.errors import ModelError

Array = Any


@dataclass(frozen=True, slots=True)
class Accuracy:
    """``same_answer``: share of rows where both have their largest output at the same place.
    ``float_right``, ``int8_right``: share of right answers; None without labels. ``largest_error``,
    ``mean_error``: of the outputs, in steps of the output's int8."""

    rows: int
    same_answer: float
    largest_error: float
    mean_error: float
    float_right: float | None = None
    int8_right: float | None = None


def compare(
    model: onnx.ModelProto, graph: Graph, inputs: Array, labels: Array | None = None
) -> Accuracy:
    """The float `model` (without what the host does at its end) and the integer graph.

    inputs: real, as the model has them; labels: the right places of the largest output. Raises
    ModelError for inputs of another shape.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    inputs = np.asarray(inputs, np.float32)
    ort.set_default_logger_severity(3)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    real, whole = [], []
    for rows, count in batches(inputs, batch_of(model)):
        try:
            found = np.asarray(session.run(None, {name: rows})[0])
            real.append(found.reshape(len(rows), -1)[:count])
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(f"the model does not take these inputs: {reason}") from None
        found = reference.run(graph, integers(graph, rows[:count]))[graph.output]
        whole.append(as_the_model(graph, found).reshape(count, -1))
    return _accuracy(graph, np.concatenate(real), np.concatenate(whole), labels)


def integers(graph: Graph, inputs: Array) -> Array:
    """Real inputs [B, ...] as the model has them to the graph's int8 [B, C, H, W]."""
    tensor = graph.tensors[graph.input]
    if graph.layouts[0] == "NHWC":
        inputs = np.moveaxis(np.asarray(inputs), 3, 1)
    number = np.rint(np.asarray(inputs, np.float32) / np.float32(tensor.scale)) + tensor.zero_point
    return np.clip(number, -128, 127).astype(np.int8).reshape(len(inputs), *tensor.shape)


def as_the_model(graph: Graph, values: Array) -> Array:
    """The graph's output [B, C, H, W] in the model's own layout."""
    return np.moveaxis(values, 1, 3) if graph.layouts[1] == "NHWC" else values


def _accuracy(graph: Graph, real: Array, whole: Array, labels: Array | None) -> Accuracy:
    tensor = graph.tensors[graph.output]
    error = np.abs(whole.astype(np.float64) - tensor.zero_point - real / tensor.scale)
    answers = real.argmax(axis=1), whole.argmax(axis=1)
    right: list[float | None] = [None, None]
    if labels is not None:
        right = [float(np.mean(each == np.asarray(labels))) for each in answers]
    return Accuracy(
        len(real), float(np.mean(answers[0] == answers[1])), float(error.max()),
        float(error.mean()), *right,
    )  # fmt: skip
