"""FpgaEngine on an emulated board: a real process, and what becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpga.engine import FpgaEngine, Settings
from fpga.errors import BoardError
from fpga.serving.child import Child
from scoring.errors import (
    EngineError,
    EngineLostError,
    EngineStartError,
    InputError,
    ModelLoadError,
)
from scoring.model_engine import prove
from scoring.signature import TensorSpec
from tests.fpga.engine.bundles import Digits
from tests.fpga.engine.odd_board import FILE, python_of
from tests.scoring.supervised import is_alive

pytestmark = pytest.mark.slow
WAIT_S = 45.0


@contextmanager
def opened(digits: Digits, **environ: str) -> Iterator[FpgaEngine]:
    engine = FpgaEngine.on(
        digits.program, {**os.environ, "INFERRY_FPGA_BOARD": "emulated", **environ}
    )
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def engine(digits: Digits) -> Iterator[FpgaEngine]:
    """Shared by those that do it no harm."""
    with opened(digits) as found:
        yield found


def _pid(engine: FpgaEngine) -> int:
    child = engine._keeper.current
    assert child is not None
    return child.pid


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def _is_right(engine: FpgaEngine, digits: Digits, count: int) -> bool:
    (found,) = engine.run({"x": digits.rows[:count]}).values()
    return np.array_equal(found, digits.expected[:count])


def test_answers_are_those_of_the_integer_network(engine: FpgaEngine, digits: Digits) -> None:
    before = engine.counts
    assert _is_right(engine, digits, 256)
    assert _is_right(engine, digits, 1)
    after = engine.counts
    assert after.samples - before.samples == 257
    assert after.packets - before.packets == -(-256 // digits.artifact.max_batch) + 1
    assert after.loads == 1


def test_no_rows_are_no_rows(engine: FpgaEngine, digits: Digits) -> None:
    (found,) = engine.run({"x": digits.rows[:0]}).values()
    assert (found.shape, found.dtype) == ((0, 10), np.float32)


def test_its_signature_and_that_its_rows_may_be_merged(engine: FpgaEngine) -> None:
    assert engine.signature.inputs == (TensorSpec("x", "float32", ("N", 64)),)
    (output,) = engine.signature.outputs
    assert (output.dtype, output.shape) == ("float32", ("N", 10))
    assert prove(engine).allowed


@pytest.mark.parametrize(
    "inputs",
    [{}, {"y": np.zeros((1, 64))}, {"x": np.zeros((1, 63))}, {"x": np.zeros(64)},
     {"x": np.full((1, 64), np.nan)}, {"x": np.float32(1)}],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_the_clients_fault(
    engine: FpgaEngine, digits: Digits, inputs: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        engine.run(inputs)
    assert _is_right(engine, digits, 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS, signal.SIGSTOP])
def test_one_that_is_killed_or_hangs_fails_its_batch_in_a_second_and_comes_back(
    digits: Digits, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: list[tuple[str | None, bool]] = []
    has_sent, send = threading.Event(), Child._send

    def sending(*arguments: Any) -> None:
        send(*arguments)
        has_sent.set()

    monkeypatch.setattr(Child, "_send", sending)
    with opened(digits) as engine:
        engine.watch(lambda: changes.append((engine.broken, engine.is_coming_back)))
        first = _pid(engine)
        os.kill(first, signal.SIGSTOP)  # so that it has the batch when it is killed
        failures: list[Any] = []

        def run() -> None:
            began = time.monotonic()
            try:
                engine.run({"x": digits.rows[:4]})
            except EngineLostError as error:
                failures.append((time.monotonic() - began, str(error), changes[-1:]))

        thread = threading.Thread(target=run)
        thread.start()
        assert has_sent.wait(WAIT_S)
        os.kill(first, number)
        thread.join(WAIT_S)
        ((took_s, said, known),) = failures
        assert took_s < 10.0, "and less than one on a machine with nothing else to do"
        assert "the process that drives the board was lost" in said
        assert known, "it is known before the batch ends"
        assert known[0][0] is not None
        assert known[0][1], "and others wait"
        assert _is_right(engine, digits, 8), "who comes then waits until it is back"
        assert _pid(engine) != first
        assert engine.restarts == 1
        assert engine.broken is None


def test_one_that_is_killed_while_idle_is_replaced_before_anybody_asks(digits: Digits) -> None:
    with opened(digits) as engine:
        os.kill(_pid(engine), signal.SIGKILL)
        _until(lambda: engine.restarts == 1 and engine.broken is None)
        assert _is_right(engine, digits, 1)


def test_a_board_that_reports_a_fault_recovers_in_its_process(
    digits: Digits, tmp_path: Path
) -> None:
    fault = tmp_path / "fault"
    python = python_of("faulty", tmp_path)
    with opened(digits, INFERRY_FPGA_PYTHON=python, **{FILE: str(fault)}) as engine:
        first = _pid(engine)
        fault.touch()
        with pytest.raises(EngineLostError, match="the DMA reports a slave error"):
            engine.run({"x": digits.rows[:2]})
        fault.unlink()
        assert _is_right(engine, digits, 2)
        assert engine.counts.recoveries >= 1
        assert _pid(engine) == first


def test_a_board_that_does_not_recover_is_tried_until_it_does_and_says_so(
    digits: Digits, tmp_path: Path
) -> None:
    fault = tmp_path / "fault"
    python = python_of("hopeless", tmp_path)
    with opened(digits, INFERRY_FPGA_PYTHON=python, **{FILE: str(fault)}) as engine:
        fault.touch()
        with pytest.raises(EngineLostError):
            engine.run({"x": digits.rows[:2]})
        _until(lambda: not engine.is_coming_back)
        assert engine.broken is not None
        assert "the DMA does not end its reset" in engine.broken
        assert "/" not in engine.broken, "clients see it"
        with pytest.raises(EngineLostError):
            engine.run({"x": digits.rows[:2]})
        fault.unlink()
        _until(lambda: engine.broken is None)
        assert _is_right(engine, digits, 2)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("real", "made for simulation and cannot run on a real board"),
        ("other", "is for a 7z020clg400, and Arty-Z7-10 has a 7z010clg400"),
        ("crash", "the process for the board did not start: it ended; it was ended by SIGBUS"),
        ("garbage", "did not start: it ended or sends nonsense; it exited with code 0"),
    ],
)
def test_what_does_not_start_says_why(digits: Digits, tmp_path: Path, kind: str, said: str) -> None:
    with (
        pytest.raises(EngineStartError, match=said),
        opened(digits, INFERRY_FPGA_PYTHON=python_of(kind, tmp_path)),
    ):
        pass


def test_one_that_never_opens_is_given_up(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpga.engine.START_S", {"emulated": 1.0})
    with (
        pytest.raises(EngineStartError, match="not ready in 1 s"),
        opened(digits, INFERRY_FPGA_PYTHON=python_of("mute", tmp_path)),
    ):
        pass


def test_two_processes_do_not_share_a_board(digits: Digits, tmp_path: Path) -> None:
    board = {"INFERRY_FPGA_BOARD": f"emulated:{os.getpid()}-{tmp_path.name}"}
    with opened(digits, **board) as engine:
        with (
            pytest.raises(EngineStartError, match=f"process {_pid(engine)} uses the board"),
            opened(digits, **board),
        ):
            pass
        assert _is_right(engine, digits, 1)
    with opened(digits, **board) as engine:
        assert _is_right(engine, digits, 1)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"INFERRY_FPGA_BOARD": "vivado"}, "auto, local, remote:HOST"),
        ({"INFERRY_FPGA_PYTHON": "/no/python"}, "where no Python is"),
        ({"INFERRY_FPGA_PYTHON": "/etc/passwd"}, "cannot start"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    digits: Digits, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(EngineStartError, match=said), opened(digits, **environ):
        pass


def test_auto_without_a_board_lists_the_choices() -> None:
    with pytest.raises(BoardError, match="has no FPGA board"):
        Settings.read({}, exists=lambda path: False)


def test_a_damaged_model_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no program\.json"):
        FpgaEngine.on(tmp_path / "program.json", {"INFERRY_FPGA_BOARD": "emulated"})


def test_closing_ends_its_process_and_who_waits_for_it(digits: Digits) -> None:
    with opened(digits) as engine:
        pid = _pid(engine)
        os.kill(pid, signal.SIGSTOP)
        failures: list[Exception] = []

        def run() -> None:
            try:
                engine.run({"x": digits.rows[:1]})
            except EngineError as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        os.kill(pid, signal.SIGCONT)
        engine.close()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(EngineLostError):
            engine.run({"x": digits.rows[:1]})
        engine.close()


SERVER = """
import os, signal, sys
from pathlib import Path
from fpga.engine import FpgaEngine
engine = FpgaEngine.on(Path(sys.argv[1]), {**os.environ, "INFERRY_FPGA_BOARD": "emulated"})
pid = engine._keeper.current.pid
os.kill(pid, signal.SIGSTOP)
print(pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_its_process_dies_with_the_server_even_if_it_hangs(digits: Digits) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SERVER, str(digits.program)],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL
    pid = int(ended.stdout)
    _until(lambda: not is_alive(pid))
