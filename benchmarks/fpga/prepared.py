"""What a benchmark of the driver needs, made here and run where pynq is.

pynq pins numpy < 2 and so has an environment of its own (.venv-pynq); networks are trained and
compiled in the other one. A folder is what they share: an artifact with its design, inputs, and
what the integer graph makes of them.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fpga.artifact import Artifact, Bitstream, load
from fpga.board import designs
from fpga.compiler import reference
from fpga.compiler.accuracy import integers
from fpga.compiler.compilation import Options, compile_model
from fpga.isa.shape import EngineShape
from fpga.simulation.board import library

Array = Any
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-pynq/bin/python"


def prepare(folder: Path, model: onnx.ModelProto, data: Array, shape: EngineShape) -> Artifact:
    """Compiled for a simulated PYNQ-Z2. The first hundred rows calibrate, all become inputs."""
    design = designs.simulated(shape)
    compiled = compile_model(model, data[:100], Options(shape=shape, build=design.build))
    made = replace(compiled.artifact, bitstream=Bitstream("simulation", design.part))
    made.save(folder)
    (folder / "design.bit").write_bytes(design.bit)
    (folder / "design.hwh").write_bytes(design.hwh)
    graph = compiled.graph
    np.save(folder / "inputs.npy", data)
    np.save(folder / "expected.npy", reference.run(graph, integers(graph, data))[graph.output])
    library(shape, design.build)  # built here: a minute, the first time
    return load(folder)


def run_inside(module: str, *arguments: str | Path, timeout_s: float) -> str:
    """A module in pynq's environment; returns what it printed. Raises CalledProcessError."""
    subprocess.run([ROOT / "scripts/pynq"], check=True, timeout=300)
    return subprocess.run(
        [PYTHON, "-m", module, *map(str, arguments)], cwd=ROOT, check=True, text=True,
        stdout=subprocess.PIPE, timeout=timeout_s, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ).stdout  # fmt: skip
