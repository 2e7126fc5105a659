"""A bundle of the digits network on a small engine, and what its integers are."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fpga import models
from fpga.artifact import Artifact, Bitstream
from fpga.board import designs
from fpga.compiler import reference
from fpga.compiler.compilation import Compiled, Options, compile_model
from fpga.isa.shape import SMALL

Array = Any
MAX_BATCH = 64
"""Samples of a packet."""


@dataclass(frozen=True)
class Digits:
    """``root``: the bundle; ``rows``: inputs; ``expected``: what the integer network makes of
    them, as real values."""

    root: Path
    artifact: Artifact
    rows: Array
    expected: Array

    @property
    def program(self) -> Path:
        return self.root / "fpga/program.json"

    def body(self, first: int, count: int = 1) -> bytes:
        return json.dumps({"x": self.rows[first : first + count].tolist()}).encode()

    def is_answer(self, text: bytes | str, first: int, count: int = 1) -> bool:
        """Whether it is, to the last bit, what the rows' answer must be."""
        found = np.asarray(json.loads(text)[self.artifact.output.name], np.float32)
        return np.array_equal(found, self.expected[first : first + count])


def make(root: Path) -> Digits:
    """Compile it, for a simulated Pynq-Z2."""
    data, _ = models.digits()
    design = designs.simulated(SMALL)
    compiled = compile_model(
        models.digits_mlp(), data[:200], Options(shape=SMALL, build=design.build)
    )
    artifact = replace(
        compiled.artifact, bitstream=Bitstream("simulation", design.part), max_batch=MAX_BATCH
    )
    artifact.save(root / "fpga")
    (root / "fpga/design.bit").write_bytes(design.bit)
    (root / "fpga/design.hwh").write_bytes(design.hwh)
    (root / "bundle.json").write_text(
        json.dumps(
            {
                "schema_version": 1,
                "name": "digits",
                "version": 1,
                "engine": "fpga.engine:FpgaEngine",
                "models": [
                    {"name": "digits", "version": 1, "path": "fpga", "entry": "program.json"}
                ],
            }
        )
    )
    rows = np.asarray(data[200:456], np.float32)
    return Digits(root, artifact, rows, _expected(compiled, artifact, rows))


def _expected(compiled: Compiled, artifact: Artifact, rows: Array) -> Array:
    port, out = artifact.input, artifact.output
    whole = np.rint(rows / np.float32(port.scale)) + port.zero_point
    whole = np.clip(whole, -128, 127).astype(np.int8)[:, :, None, None]
    answers = reference.run(compiled.graph, whole)[compiled.graph.output].reshape(len(rows), -1)
    return (answers.astype(np.float32) - np.float32(out.zero_point)) * np.float32(out.scale)
