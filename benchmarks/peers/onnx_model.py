# mypy: ignore-errors
"""The model that every peer serves, called the plain way: one run for each request.

BENCH_MODEL is its path and BENCH_SHAPE the shape of one row, such as 3,48,192. Imported by the
peers' programs in their own environments, from the folder they start in.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

SHAPE = tuple(int(size) for size in os.environ["BENCH_SHAPE"].split(","))


class OnnxModel:
    """One session with one thread: the servers run one process for each core."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def from_rows(self, rows: list) -> dict[str, list]:
        """Rows as nested lists to the outputs as nested lists, by name."""
        return self._run(np.array(rows, dtype=np.float32).reshape(-1, *SHAPE))

    def from_bytes(self, body: bytes) -> dict[str, list]:
        """Rows as little-endian float32 to the outputs as nested lists, by name."""
        return self._run(np.frombuffer(body, dtype="<f4").reshape(-1, *SHAPE))

    def from_array(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Rows float32 [N, *SHAPE] to the outputs as arrays, by name."""
        values = self._session.run(self._outputs, {self._input: rows})
        return dict(zip(self._outputs, values, strict=True))

    def _run(self, rows: np.ndarray) -> dict[str, list]:
        return {name: value.tolist() for name, value in self.from_array(rows).items()}
