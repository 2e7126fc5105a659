"""From a float model to answers of simulated hardware on a device: compiled, signed, served at
/v2/, pulled and verified by an agent, and answered by the engine's Verilog behind real pynq."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edge.fleet import ROOT, Fleet
from fpga.board import designs
from fpga.isa.shape import SMALL
from fpga.simulation.board import library
from fpga.simulation.library import cache_folder
from tests.broker import Mosquittos

PYTHON = ROOT / ".venv-pynq/bin/python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.broker,
    pytest.mark.xdist_group("pynq"),
    pytest.mark.skipif(not PYTHON.exists(), reason="scripts/pynq was not run"),
]
DEVICE = "z2-sim"


@pytest.fixture
def fleet(
    tmp_path: Path, mosquittos: Mosquittos, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    """With the files of examples/fpga, and a board of Verilated RTL for whoever drives one."""
    monkeypatch.setenv("INFERRY_FPGA_PYTHON", str(PYTHON))
    monkeypatch.setenv("INFERRY_FPGA_BOARD", "simulated")
    monkeypatch.setenv("INFERRY_CACHE", str(cache_folder().parent))
    library(SMALL, designs.simulated(SMALL).build)  # built here, where it has time
    train = ROOT / "examples" / "fpga" / "train.py"
    subprocess.run([sys.executable, str(train), str(tmp_path)], check=True, timeout=120)
    with Fleet(tmp_path) as found:
        yield found


def test_a_model_is_compiled_signed_pulled_and_answered_by_simulated_hardware(
    fleet: Fleet,
) -> None:
    fleet.inferry("model", "register", "digits.onnx", "--name", "digits")
    fleet.inferry(
        "image", "create", "digits-fpga", "--model", "digits", "--kind", "fpga", "--lanes", "8",
        "--calibration", "calibration.npz", "--golden", "golden.json",
    )  # fmt: skip
    assert "signed by key" in fleet.inferry("image", "verify", "digits-fpga")
    fleet.enroll(DEVICE, extra='[modules]\nhosts = ["process"]\n')
    fleet.start_agent(DEVICE)
    fleet.wait("it is there", lambda: fleet.json("edge", "devices", DEVICE)["online"])
    fleet.inferry(
        "edge", "deploy", "sorters", "--module", "digits=digits-fpga:1", "--device", DEVICE
    )
    fleet.wait("it answers", lambda: fleet.runs(DEVICE, "digits-fpga:1"), 180)
    said = fleet.score(DEVICE, json.loads((fleet.folder / "request.json").read_text()))

    expected = fleet.json(
        "fpga", "simulate", "digits-fpga", "--input", "request.json", "--engine", "emulator"
    )
    answers, outputs = (
        np.array(each, np.float32) for each in (said["logits"], expected["outputs"])
    )
    np.testing.assert_array_equal(answers, outputs)
    labels = json.loads((fleet.folder / "labels.json").read_text())
    right = [
        row.index(max(row)) == label for row, label in zip(said["logits"], labels, strict=True)
    ]
    assert sum(right) / len(right) > 0.85
    assert "drives the board" in fleet.inferry("edge", "logs", DEVICE, "digits")
