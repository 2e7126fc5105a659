"""The command's boards, reached by real pynq: what `inferry fpga build` made runs on both."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fpga.artifact import load
from fpga.build import Order, build
from fpga.trial import emulate
from tests.fpga.build import networks
from tests.fpga.build.test_trial import needs_verilator
from tests.runtime.server import Done, environment

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-pynq/bin/python"
HOSTS = ("127.0.31.7", "127.0.31.8")
START_S = 60.0
CLIENT = """
import sys
from pathlib import Path
import numpy as np, pynq
from fpga.artifact import load
from fpga.driver.on_pynq import PynqHardware
from fpga.driver.session import Session
folder = Path(sys.argv[1])
artifact = load(folder)
bit, hwh = (folder / "design.bit").read_bytes(), (folder / "design.hwh").read_bytes()
for number, device in enumerate(pynq.Device.devices):
    with Session(artifact, bit, hwh, PynqHardware(device)) as session:
        np.save(folder / f"answers{number}.npy", session.run(np.load(folder / "rows.npy")))
print(len(pynq.Device.devices))
"""
pytestmark = [
    pytest.mark.slow, pytest.mark.xdist_group("pynq"), pytest.mark.timeout(600), needs_verilator,
]  # fmt: skip


@pytest.fixture
def boards() -> Iterator[None]:
    """Two, at HOSTS."""
    subprocess.run([ROOT / "scripts/pynq"], check=True, timeout=280)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime.cli.main", "fpga", "board", "--listen", HOSTS[0],
             "--count", "2"],
            cwd=ROOT, env=environment(INFERRY_FPGA_PYTHON=str(PYTHON)), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            _wait_for(process, log.fileno(), 2)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        assert code == 0


def _wait_for(process: subprocess.Popen[bytes], log: int, count: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        said = os.pread(log, 10_000, 0).decode()
        if len(re.findall("is ready at", said)) == count:
            return
        time.sleep(0.05)
    pytest.fail(os.pread(log, 10_000, 0).decode())


def _simulated(folder: Path) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", "fpga", "simulate", folder, "--input",
         folder / "rows.npy", "--engine", "rtl"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def test_what_was_built_answers_alike_on_all_boards(boards: None, tmp_path: Path) -> None:
    model = networks.write(tmp_path)
    build(Order(model, tmp_path / "calibration.npz", lanes=8), tmp_path / "fpga")
    rows = networks.inputs(9, seed=7)
    np.save(tmp_path / "fpga/rows.npy", rows)
    expected = emulate(load(tmp_path / "fpga"), rows).outputs
    simulated = _simulated(tmp_path / "fpga")
    assert simulated.code == 0, simulated.stderr
    assert "cycles_simulated" in simulated.stdout
    done = subprocess.run(
        [PYTHON, "-c", CLIENT, tmp_path / "fpga"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYNQ_REMOTE_DEVICES": ",".join(HOSTS)}, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "2"
    for number in range(2):
        assert (np.load(tmp_path / f"fpga/answers{number}.npy") == expected).all()
