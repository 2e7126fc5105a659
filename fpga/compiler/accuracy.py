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
    """``same_answer``: share of rows where both have their largest output at the same place (of one
    output: on the same side of 0).
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

    inputs: real, as the model has them; labels: of each row the right place of the largest output,
    or 1 for one output above 0. Raises ModelError for inputs of another shape, or no numbers.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    inputs = np.asarray(inputs, np.float32)
    if len(inputs) < 1 or not np.isfinite(inputs).all():
        raise ModelError("held-out inputs: one row or more, without nan or infinity")
    if labels is not None and np.shape(labels) != (len(inputs),):
        raise ModelError(
            f"labels: one for each of {len(inputs)} held-out rows, not {list(np.shape(labels))}"
        )
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
    with np.errstate(over="ignore"):  # what is too large is the largest
        real = np.asarray(inputs, np.float32) / np.float32(tensor.scale)
    number = np.rint(real) + tensor.zero_point
    return np.clip(number, -128, 127).astype(np.int8).reshape(len(inputs), *tensor.shape)


def as_the_model(graph: Graph, values: Array) -> Array:
    """The graph's output [B, C, H, W] in the model's own layout."""
    return np.moveaxis(values, 1, 3) if graph.layouts[1] == "NHWC" else values


def _accuracy(graph: Graph, real: Array, whole: Array, labels: Array | None) -> Accuracy:
    if not np.isfinite(real).all():
        raise ModelError("the float model gives nan or infinity for held-out inputs")
    tensor = graph.tensors[graph.output]
    error = np.abs(whole.astype(np.float64) - tensor.zero_point - real / tensor.scale)
    answers = real.argmax(axis=1), whole.argmax(axis=1)
    if real.shape[1] == 1:
        answers = (real > 0)[:, 0], (whole > tensor.zero_point)[:, 0]
    right: list[float | None] = [None, None]
    if labels is not None:
        right = [float(np.mean(each == np.asarray(labels))) for each in answers]
    return Accuracy(
        len(real), float(np.mean(answers[0] == answers[1])), float(error.max()),
        float(error.mean()), *right,
    )  # fmt: skip
