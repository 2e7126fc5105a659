"""Real pynq on simulated boards, in process and over its own gRPC. See pynq_checks.py."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fpga import models
from benchmarks.fpga.faults import ANOTHER
from fpga.board import designs
from fpga.compiler import reference
from fpga.compiler.compilation import Options, compile_model
from fpga.isa.shape import SMALL
from fpga.simulation.board import library

ROOT = Path(__file__).parents[3]
NAMES = (
    "in_process", "a_dma_in_a_block_of_its_own", "remote_two_boards",
    "selftest_of_pynq", "defect_1_no_frequency_for_zynq_7000",
    "defect_2_a_file_of_the_same_name_is_not_sent_again",
    "defect_3_a_changed_description_is_read_anew", "remote_a_slow_sender_holds_nobody_up",
    "defect_4_a_wrong_part_is_no_error",
    "driver_in_process",
    "driver_remote",
    "driver_remote_takes_a_changed_description",
    "driver_refuses_a_wrong_part_and_finds_a_stale_image",
    "driver_downloads_again_unless_it_is_certain_what_is_loaded",
    "driver_asks_the_silicon_where_the_name_says_nothing",
    "driver_compares_the_memory_that_is_there", "driver_mends_a_foreign_description",
    "driver_remote_calls_have_deadlines", "driver_a_board_that_is_gone_is_an_error_and_closes",
    "driver_finds_a_board_or_gives_up", "driver_leaves_one_bitstream_on_a_board",
    "driver_on_the_board_itself",
    "faults_of_every_kind_are_errors_with_a_way_back",
    "the_drivers_time_can_be_measured",
    "a_missing_flush_shows", "memory_runs_out_at_once", "defect_5_waiting_has_no_end",
)  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("pynq")]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits on a small engine, with inputs and what the integer graph makes of them."""
    folder = tmp_path_factory.mktemp("artifact")
    data, _ = models.digits()
    compiled = compile_model(models.digits_mlp(), data[:200], Options(shape=SMALL))
    compiled.artifact.save(folder)
    design = designs.simulated(SMALL)
    (folder / "design.bit").write_bytes(design.bit)
    (folder / "design.hwh").write_bytes(design.hwh)
    rows = data[200:264]
    port = compiled.artifact.input
    whole = np.rint(rows / np.float32(port.scale)) + port.zero_point
    whole = np.clip(whole, -128, 127).astype(np.int8)[:, :, None, None]
    np.save(folder / "inputs.npy", rows)
    np.save(folder / "expected.npy", reference.run(compiled.graph, whole)[compiled.graph.output])
    library(SMALL, design.build)  # built here, where it has time
    library(ANOTHER.shape, ANOTHER.build)
    return folder


@pytest.fixture(scope="module")
def results(artifact: Path) -> dict[str, str]:
    subprocess.run([ROOT / "scripts/pynq"], check=True, timeout=280)
    ended = subprocess.run(
        [ROOT / ".venv-pynq/bin/python", "-m", "tests.fpga.board.pynq_checks", artifact],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert ended.stdout.strip(), ended.stderr
    found: dict[str, str] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_pynq_on_a_simulated_board(results: dict[str, str], name: str) -> None:
    assert results[name] == ""
