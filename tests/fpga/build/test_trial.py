"""A compiled model without a board: the emulator and the Verilated engine answer alike."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fpga.artifact import Artifact, load
from fpga.build import Order, build
from fpga.errors import BitstreamError, EngineError, ProgramError
from fpga.simulation.board import Latencies
from fpga.trial import emulate, simulate
from tests.fpga.build import networks

HAS_VERILATOR = shutil.which("verilator") is not None and shutil.which("g++") is not None
needs_verilator = pytest.mark.skipif(
    not HAS_VERILATOR, reason="verilator and g++ are not installed: scripts/system-packages"
)
ROWS = networks.inputs(13, seed=5)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """In runs of five."""
    folder = tmp_path_factory.mktemp("trial")
    model = networks.write(folder)
    build(Order(model, folder / "calibration.npz", lanes=8, max_batch=5), folder / "fpga")
    return load(folder / "fpga")


def test_the_emulator_answers_every_row_in_runs(artifact: Artifact) -> None:
    done: list[int] = []
    trial = emulate(artifact, ROWS, done.append)
    assert trial.outputs.shape == (13, 4)
    assert (trial.runs, done) == (3, [5, 10, 13])
    assert trial.cycles_simulated is None
    single = np.concatenate([emulate(artifact, row[None]).outputs for row in ROWS])
    assert (trial.outputs == single).all()
    one = emulate(artifact, ROWS[:1])
    assert one.cycles_predicted == artifact.latency_cycles
    assert one.samples_per_s(100.0) == 1e8 / artifact.latency_cycles


def test_outputs_are_near_what_the_float_model_says(artifact: Artifact) -> None:
    import onnxruntime as ort

    session = ort.InferenceSession(networks.tiny().SerializeToString())
    (exact,) = session.run(None, {"x": ROWS})
    assert np.abs(emulate(artifact, ROWS).outputs - exact).max() < 8 * artifact.output.scale


@pytest.mark.slow
@needs_verilator
def test_the_verilated_engine_answers_alike_in_the_clocks_that_were_predicted(
    artifact: Artifact,
) -> None:
    emulated = emulate(artifact, ROWS)
    at_once = simulate(artifact, ROWS, latencies=Latencies(1, 0, 0))
    assert (at_once.outputs == emulated.outputs).all()
    assert at_once.cycles_simulated == at_once.cycles_predicted == emulated.cycles_predicted
    real = simulate(artifact, ROWS)
    assert (real.outputs == emulated.outputs).all()
    assert real.cycles_simulated is not None
    assert real.cycles_simulated >= real.cycles_predicted


@pytest.mark.slow
@needs_verilator
def test_an_engine_that_reports_an_error_is_told(artifact: Artifact) -> None:
    broken = artifact.load.copy()
    broken[0] ^= 0xFF00  # the magic of the first command
    with pytest.raises(EngineError, match="bad header"):
        simulate(replace(artifact, load=broken), ROWS)


def test_an_image_of_another_engine_is_not_simulated(artifact: Artifact) -> None:
    with pytest.raises(BitstreamError, match="--engine emulator"):
        simulate(replace(artifact, build="0" * 32), ROWS)


def test_inputs_of_another_shape_are_refused(artifact: Artifact) -> None:
    for run in (emulate, simulate):
        with pytest.raises(ProgramError, match="shape"):
            run(artifact, ROWS[:, :7])


def test_trying_needs_no_compiler(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; sys.modules.update(dict.fromkeys(['onnx', 'onnxruntime', 'pynq']));"
        " import fpga.trial, fpga.dataset, fpga.report"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
