"""The driver on the emulated board: checks before anything is sent, answers, errors, recovery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fpga import models
from fpga.artifact import Artifact, Bitstream
from fpga.board import bitstream
from fpga.compiler import reference
from fpga.compiler.compilation import Compiled, Options, compile_model
from fpga.driver.emulated import EmulatedHardware
from fpga.driver.lock import BoardLock
from fpga.driver.session import Session
from fpga.errors import (
    BitstreamError,
    BusyError,
    CapacityError,
    DeadlineError,
    EngineError,
    ProgramError,
)
from fpga.isa import registers
from fpga.isa.shape import SMALL

BUILD = "0123456789abcdef" * 2
BIT = bitstream.make(
    bitstream.SimulatedDesign(SMALL, BUILD), "xc7z020clg400-1", 0x03727093, "digits"
)
HWH = b"<EDKSYSTEM/>"


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    data, _ = models.digits()
    return compile_model(models.digits_mlp(), data[:200], Options(shape=SMALL, build=BUILD))


@pytest.fixture
def artifact(compiled: Compiled) -> Artifact:
    return replace(
        compiled.artifact, bitstream=Bitstream("simulation", "xc7z020clg400-1"), max_batch=16
    )


@pytest.fixture
def board() -> EmulatedHardware:
    return EmulatedHardware(SMALL, BUILD)


@pytest.fixture
def session(artifact: Artifact, board: EmulatedHardware) -> Iterator[Session]:
    with Session(artifact, BIT, HWH, board) as opened:
        yield opened


def test_a_batch_of_any_size_is_answered_as_the_graph_has_it(
    session: Session, compiled: Compiled
) -> None:
    rows = models.digits()[0][300:350]
    port = compiled.artifact.input
    whole = np.rint(rows / np.float32(port.scale)) + port.zero_point
    whole = np.clip(whole, -128, 127).astype(np.int8)[:, :, None, None]
    expected = reference.run(compiled.graph, whole)[compiled.graph.output].reshape(50, 10)
    beats = session.run_beats(session.artifact.quantise(rows))
    assert (session.artifact.unpack(beats) == expected).all()
    assert session.samples == 50
    assert session.run(rows[:0]).shape[0] == 0


def test_a_design_that_is_there_is_not_sent_again(
    artifact: Artifact, board: EmulatedHardware
) -> None:
    for downloads in (1, 0):
        with Session(artifact, BIT, HWH, board) as session:
            assert session.downloads == session.loads == downloads
    assert len(board.names) == 1


def test_names_say_what_is_in_them(artifact: Artifact) -> None:
    names = []
    for hwh in (HWH, HWH, b"<other/>"):
        board = EmulatedHardware(SMALL, BUILD)
        with Session(artifact, BIT, hwh, board):
            names += board.names
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("provenance", ["simulation", "vivado"])
def test_a_simulation_is_not_sent_to_a_real_board(
    artifact: Artifact, board: EmulatedHardware, provenance: str
) -> None:
    board.is_simulated = False
    lying = replace(artifact, bitstream=Bitstream(provenance, "xc7z020clg400-1"))
    with pytest.raises(BitstreamError, match="made for simulation"):
        Session(lying, BIT, HWH, board).open()
    assert board.names == []


def test_another_part_is_refused_before_it_is_sent(
    artifact: Artifact, board: EmulatedHardware
) -> None:
    board.name = "Arty-Z7-10"
    with pytest.raises(BitstreamError, match="7z020clg400, and Arty-Z7-10 has a 7z010"):
        Session(artifact, BIT, HWH, board).open()
    assert board.names == []


def test_a_file_that_is_no_bitstream_or_another_is_refused(
    artifact: Artifact, board: EmulatedHardware
) -> None:
    with pytest.raises(BitstreamError, match=r"no \.bit"):
        Session(artifact, b"\x7fELF" * 20, HWH, board).open()
    known = replace(artifact, bitstream=Bitstream("simulation", "", "0" * 64))
    with pytest.raises(BitstreamError, match="not the one"):
        Session(known, BIT, HWH, board).open()


def test_an_old_build_and_another_shape_are_found_in_the_registers(artifact: Artifact) -> None:
    with pytest.raises(BitstreamError, match="an old bitstream is loaded"):
        Session(artifact, BIT, HWH, EmulatedHardware(SMALL, "f" * 32)).open()
    other = replace(SMALL, p_words=128)
    with pytest.raises(BitstreamError, match="another shape"):
        Session(artifact, BIT, HWH, EmulatedHardware(other, BUILD)).open()


class Refusing(EmulatedHardware):
    """Its manager says that it failed."""

    def state(self) -> str:
        return "write error"


def test_the_managers_state_is_looked_at(artifact: Artifact) -> None:
    with pytest.raises(BitstreamError, match="'write error'"):
        Session(artifact, BIT, HWH, Refusing(SMALL, BUILD)).open()


def test_memory_that_does_not_suffice_is_told_when_it_is_opened(artifact: Artifact) -> None:
    board = EmulatedHardware(SMALL, BUILD, cma_bytes=1024)
    with pytest.raises(CapacityError, match="no contiguous memory"):
        Session(artifact, BIT, HWH, board).open()


class Faulty(EmulatedHardware):
    """Breaks once, in the way that it is told."""

    fault = ""

    def read(self, address: int) -> int:
        value = super().read(address)
        if self.fault == "stall" and address == registers.DMA_BASE + 0x34:
            return 0
        if self.fault == "slave error" and address == registers.DMA_BASE + 4:
            return 0x21
        if self.fault == "engine" and address == registers.ENGINE_BASE + registers.STATUS:
            return 3
        if self.fault == "short" and address == registers.DMA_BASE + 0x58:
            return value - 8
        return value


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("stall", DeadlineError, "no answer from the board"),
        ("slave error", EngineError, "a slave error"),
        ("engine", EngineError, "the engine reports"),
        ("short", EngineError, "bytes, where"),
    ],
)
def test_a_fault_is_a_typed_error_and_the_next_run_recovers(
    artifact: Artifact, fault: str, error: type[Exception], said: str
) -> None:
    board, now = Faulty(SMALL, BUILD), [0.0]

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    rows = models.digits()[0][:5]
    with Session(artifact, BIT, HWH, board, clock=clock) as session:
        good = session.run(rows)
        board.fault = fault
        began = now[0]
        with pytest.raises(error, match=said):
            session.run(rows)
        assert now[0] - began < 2.0
        assert "to be recovered" in repr(session)
        board.fault = ""
        assert (session.run(rows) == good).all()
        assert session.is_sound
        assert session.recoveries == 1


def test_two_processes_do_not_share_a_board(
    artifact: Artifact, board: EmulatedHardware, tmp_path: Path
) -> None:
    first, second = (BoardLock("pynq/../z2", tmp_path) for _ in range(2))
    with (
        Session(artifact, BIT, HWH, board, lock=first),
        pytest.raises(BusyError, match="uses the board"),
    ):
        Session(artifact, BIT, HWH, board, lock=second).open()
    assert [path.name for path in tmp_path.iterdir()] == ["inferry-fpga-pynq_.._z2.lock"]
    with Session(artifact, BIT, HWH, board, lock=second):
        pass


def test_a_real_boards_long_run_is_slept_through_at_its_own_clock(
    artifact: Artifact, board: EmulatedHardware
) -> None:
    slow = replace(
        artifact,
        latency_cycles=300_000,
        bitstream=Bitstream("vivado", "xc7z020clg400-1", "", (), 50),
    )
    slept: list[float] = []
    for simulated in (True, False):
        with Session(slow, BIT, HWH, board, sleep=slept.append) as session:
            board.is_simulated = simulated
            session.run(models.digits()[0][:2])
            board.is_simulated = True
    assert len(slept) == 1
    assert 0.006 <= slept[0] < 0.0061


def test_input_that_cannot_be_is_refused_and_costs_nothing(session: Session) -> None:
    for wrong in (np.zeros((2, 65)), np.full((1, 64), np.nan), np.zeros(64)):
        with pytest.raises(ProgramError):
            session.run(wrong)
    assert session.is_sound


def test_silicon_tells_the_part_where_the_board_has_no_known_name(
    artifact: Artifact, board: EmulatedHardware
) -> None:
    board.name, board.idcode = "Some-Board", 0x13722093  # a later revision of a 7z010
    with pytest.raises(BitstreamError, match="for a 7z020, and the board has a 7z010"):
        Session(artifact, BIT, HWH, board).open()
    assert board.names == []
    board.idcode = 0x23727093
    with Session(artifact, BIT, HWH, board) as session:
        assert session.is_sound


def test_a_header_that_lies_about_the_part_is_found_out(
    artifact: Artifact, board: EmulatedHardware
) -> None:
    lying = bitstream.make(
        bitstream.SimulatedDesign(SMALL, BUILD), "xc7z020clg400-1", 0x03722093, "digits"
    )
    board.name, board.idcode = "Pynq-Z2", 0x23727093
    with pytest.raises(BitstreamError, match="for a 7z010, and the board has a 7z020"):
        Session(artifact, lying, HWH, board).open()


class Silent(EmulatedHardware):
    """A board whose bus kills who reads a register before a design of this driver is loaded."""

    def read(self, address: int) -> int:
        assert self.names, "a register was read, and nobody knows what is loaded"
        return super().read(address)

    def write(self, address: int, value: int) -> None:
        assert self.names
        super().write(address, value)


def test_no_register_is_read_before_it_is_known_what_is_loaded(artifact: Artifact) -> None:
    with Session(artifact, BIT, HWH, Silent(SMALL, BUILD)) as session:
        assert session.downloads == 1


class Forgetful(EmulatedHardware):
    """Another design may be there: it cannot tell."""

    def loaded(self) -> str | None:
        return None


def test_what_is_not_known_is_downloaded_again(artifact: Artifact) -> None:
    board = Forgetful(SMALL, BUILD)
    for _ in range(2):
        with Session(artifact, BIT, HWH, board) as session:
            assert session.downloads == 1


def test_memory_that_the_board_does_not_have_is_told_before_anything_is_sent(
    artifact: Artifact,
) -> None:
    board = EmulatedHardware(SMALL, BUILD, cma_bytes=1024)
    with pytest.raises(CapacityError, match=r"16 samples take [\d,]+ bytes, and the board has 1,"):
        Session(artifact, BIT, HWH, board).open()
    assert board.names == []
    with Session(artifact, BIT, HWH, EmulatedHardware(SMALL, BUILD, 1 << 14)) as session:
        assert session.is_sound


def test_memory_that_others_use_is_told_and_nothing_is_kept(artifact: Artifact) -> None:
    board = EmulatedHardware(SMALL, BUILD, cma_bytes=1 << 14)
    board.download(BIT, HWH, "another")
    taken = board.allocate(1800)
    with pytest.raises(CapacityError, match="are free"):
        Session(artifact, BIT, HWH, board).open()
    taken.free()
    with Session(artifact, BIT, HWH, board) as session:
        assert session.run(models.digits()[0][:3]).shape == (3, 10)


def test_a_batch_larger_than_the_boards_is_run_in_parts(artifact: Artifact) -> None:
    rows = models.digits()[0][:50]
    answers = []
    for most in (None, 1, 7):
        with Session(artifact, BIT, HWH, EmulatedHardware(SMALL, BUILD), max_batch=most) as session:
            answers.append(session.run(rows))
    assert all((each == answers[0]).all() for each in answers)
