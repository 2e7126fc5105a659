"""The two models that are served, with rows to score and the right answers.

*digits*: an MLP on 8x8 pixels that examples/digits/train.py trains; float32 [N, 64], about 16 us.
*angle*: PaddleOCR's classifier of upside-down text from the package rapidocr-onnxruntime;
float32 [N, 3, 48, 192], about 1 ms. Right is what onnxruntime says in this process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.outcome import ROOT

Tensor = NDArray[np.float32]
ANGLE_ROWS = 16
TOLERANCE = 2e-4


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, rows for it [K, *shape], and the floats [K, M] that each row must give."""

    name: str
    model: Path
    input: str
    shape: tuple[int, ...]
    rows: Tensor
    expected: Tensor

    def values(self, index: int) -> list[Any]:
        """Row ``index`` as nested lists of short numbers, such as clients send."""
        row = self.rows[index].astype(np.float64)
        short = row.astype(int) if self.name == "digits" else np.round(row, 6)
        return cast(list[Any], short.tolist())

    def json_body(self, index: int) -> bytes:
        """Row ``index`` as ``{"data": [...]}``."""
        return compact({"data": [self.values(index)]})

    def raw_body(self, index: int) -> bytes:
        """Row ``index`` as little-endian float32."""
        return bytes(self.rows[index].astype("<f4").tobytes())

    def is_right(self, index: int, answer: bytes) -> bool:
        """Whether a JSON answer, of whatever form, holds the floats that row ``index`` gives."""
        found = np.array(_numbers(json.loads(answer)))
        gaps = np.abs(found[:, None] - self.expected[index][None, :])
        return bool(gaps.size and (gaps.min(axis=0) <= TOLERANCE).all())


def digits(scratch: Path) -> Subject:
    """Trains it in ``scratch``."""
    folder = scratch / "digits"
    if not (folder / "model.onnx").exists():
        train = ROOT / "examples/digits/train.py"
        subprocess.run([sys.executable, train, folder], check=True, stdout=subprocess.DEVNULL)
    pixels = json.loads((folder / "held_out.json").read_text())["pixels"]
    return _subject("digits", folder / "model.onnx", np.array(pixels, dtype=np.float32))


def angle() -> Subject:
    """Found without importing its package, which needs libGL."""
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    if found is None or found.origin is None:
        raise SystemExit("bench: needs rapidocr-onnxruntime: scripts/setup dev")
    [path] = Path(found.origin).parent.glob("models/*cls*.onnx")
    noise = np.random.default_rng(7).uniform(-1, 1, (ANGLE_ROWS, 3, 48, 192))
    return _subject("angle", path, np.round(noise, 6).astype(np.float32))


def _subject(name: str, model: Path, rows: Tensor) -> Subject:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.fspath(model), options)
    [taken] = session.get_inputs()
    outputs = session.run(None, {taken.name: rows})
    [floats] = [value for value in outputs if value.dtype == np.float32]
    return Subject(name, model, taken.name, rows.shape[1:], rows, cast(Tensor, floats))


def compact(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return _numbers(list(value.values()))
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []
