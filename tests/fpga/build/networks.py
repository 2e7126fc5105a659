"""A model that compiles at once, its inputs, and files of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.fpga.models import Network

Array = Any
ROWS = 40


def tiny(softmax: bool = False) -> onnx.ModelProto:
    """12-6-4 on vectors, weights from a seed."""
    draw = np.random.default_rng(3)
    net = Network("tiny", (12,))
    end = net.put("Relu", net.gemm("x", draw.normal(0, 0.4, (6, 12)), draw.normal(0, 0.1, 6)))
    end = net.gemm(end, draw.normal(0, 0.4, (4, 6)), draw.normal(0, 0.1, 4))
    if softmax:
        net.put("Softmax", end, axis=1)
    return net.model(2)


def inputs(rows: int = ROWS, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (rows, 12)).astype(np.float32)


def write(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    """model.onnx, calibration.npz and held_out.npz."""
    onnx.save(tiny() if model is None else model, folder / "model.onnx")
    np.savez(folder / "calibration.npz", x=inputs())
    labels = np.arange(ROWS) % 4
    np.savez(folder / "held_out.npz", x=inputs(seed=1), y=labels)
    return folder / "model.onnx"
