"""A compiled network on the emulated engine, and what onnxruntime makes of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from fpga.compiler import reference
from fpga.compiler.accuracy import as_the_model, integers
from fpga.compiler.batches import batch_of, batches
from fpga.compiler.compilation import Compiled
from fpga.emulator import EmulatedEngine

Array = Any


def beats_of(compiled: Compiled, rows: Array) -> Array:
    """The output's beats, of one run."""
    artifact = compiled.artifact
    engine = EmulatedEngine(artifact.shape)
    assert engine.send(artifact.load) == []
    (beats,) = engine.send(artifact.run_packet(artifact.quantise(rows)))
    return beats.reshape(len(rows), -1)


def expected(compiled: Compiled, rows: Array) -> Array:
    """int8 of the output, from the plain graph, in the model's layout."""
    graph = compiled.graph
    found = reference.run(graph, integers(graph, rows))[graph.output]
    return as_the_model(graph, found).reshape(len(rows), -1)


def by_onnxruntime(model: onnx.ModelProto, rows: Array) -> Array:
    """The model's real output."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return np.concatenate(
        [
            session.run(None, {name: part})[0][:count]
            for part, count in batches(rows, batch_of(model))
        ]
    )
