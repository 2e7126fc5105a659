"""A reset of the DMA in the midst of a transfer: memory forgets nothing, as a Zynq's port does not,
and still the next transfer is right. The harness watches the rules of AXI in every clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpga.board.designs import build_hash
from fpga.emulator import EmulatedEngine
from fpga.errors import BoardError
from fpga.isa import packet, registers
from fpga.isa.descriptor import Descriptor, encode
from fpga.isa.parameter import encode_parameters
from fpga.isa.shape import BANK_OUT, BANK_X, SMALL, address
from fpga.simulation.board import Latencies, Logic
from fpga.simulation.library import HARNESS, build, sources

Array = Any
DMA, ENGINE = registers.DMA_BASE, registers.ENGINE_BASE
READ, WRITE = DMA, DMA + 0x30
CONTROL, STATUS, ADDRESS, LENGTH = 0x00, 0x04, 0x18, 0x28
RESET, IDLE, ERRORS = 4, 2, 0x70
BASE, BACK = 0x1000_0000, 0x8000
SAMPLES = 40
pytestmark = pytest.mark.slow


def loading() -> Array:
    layer = Descriptor(
        src=address(BANK_X, 0), dst=address(BANK_OUT, 0), src_alt=SMALL.x_half, releases_x=True,
        is_last=True,
    )  # fmt: skip
    return packet.join(
        [
            packet.command(packet.DESC, 0, encode(layer)),
            packet.command(packet.PARAM, 0, encode_parameters(np.arange(8), np.full(8, 0.01))),
            packet.command(packet.WEIGHT, 0, np.arange(64, dtype=np.int8)),
        ]
    )


def running(seed: int) -> Array:
    words = np.random.default_rng(seed).integers(-128, 128, (SAMPLES, 8)).astype(np.int8)
    return packet.join(
        [packet.run(SAMPLES), *(packet.command(packet.INPUT, 0, word) for word in words)]
    )


class Rig:
    """The logic and its memory: programs of a few lines on the DMA's registers."""

    def __init__(self, built: Path | None = None) -> None:
        self.memory = np.zeros(1 << 16, np.uint8)
        self.logic = Logic(SMALL, build_hash(SMALL), self.memory, BASE, built=built)

    @property
    def back(self) -> Array:
        return self.memory[BACK : BACK + 8 * SAMPLES].view(np.uint64)

    def set_memory(self, seed: int) -> None:
        """Another speed of memory; a register takes as few clocks as can be."""
        rng = np.random.default_rng(seed)
        self.logic.set_latencies(Latencies(0, int(rng.integers(0, 60)), int(rng.integers(0, 9))))
        self.logic.set_stalls(int(rng.choice([0, 60, 200])), seed)

    def reset(self) -> int:
        """As the driver does it. How often the bit read 1."""
        self.logic.write(READ + CONTROL, RESET)
        waited = 0
        while self.logic.read(READ + CONTROL) & RESET:
            assert self.logic.read(WRITE + CONTROL) & RESET or not self.logic.owed
            waited += 1
            assert waited < 2000, "the reset does not end"
        assert self.logic.owed == 0
        for channel in (READ, WRITE):
            self.logic.write(channel + CONTROL, 1)
        self.logic.write(ENGINE + registers.CONTROL, registers.CONTROL_RESET)
        return waited

    def start(self, beats: Array, room: int) -> None:
        self.memory[: beats.nbytes] = beats.view(np.uint8)
        if room:
            self.logic.write(WRITE + ADDRESS, BASE + BACK)
            self.logic.write(WRITE + LENGTH, room)
        self.logic.write(READ + ADDRESS, BASE)
        self.logic.write(READ + LENGTH, beats.nbytes)

    def wait(self, channel: int) -> None:
        for _ in range(5000):
            status = self.logic.read(channel + STATUS)
            assert not status & ERRORS, hex(status)
            if status & IDLE:
                return
        raise AssertionError("the transfer does not end")

    def load(self) -> None:
        self.start(loading(), 0)
        self.wait(READ)

    def run(self, beats: Array) -> None:
        self.start(beats, 8 * SAMPLES)
        self.wait(WRITE)
        self.wait(READ)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.logic.close()


def answers(beats: Array) -> Array:
    emulated = EmulatedEngine(SMALL)
    emulated.send(loading())
    return emulated.send(beats)[0]


def clocks_of_a_run(rig: Rig, beats: Array) -> int:
    rig.reset()
    rig.load()
    began = rig.logic.clock
    rig.run(beats)
    return rig.logic.clock - began


@pytest.mark.parametrize("seed", range(6))
def test_a_reset_at_any_clock_of_a_transfer_is_followed_by_a_right_one(rig: Rig, seed: int) -> None:
    broken, sound = running(seed), running(seed + 100)
    expected = answers(sound)
    rig.set_memory(seed)
    clocks = clocks_of_a_run(rig, broken)
    waited = 0
    for clock in range(0, clocks, 1 + clocks // 500):
        rig.start(broken, 8 * SAMPLES)
        rig.logic.run(clock)
        waited += rig.reset() > 0
        rig.back[:] = 0
        rig.load()
        assert not rig.back.any(), clock
        rig.run(sound)
        np.testing.assert_array_equal(rig.back, expected, err_msg=f"reset after {clock} clocks")
        assert rig.logic.read(WRITE + LENGTH) == 8 * SAMPLES
        assert rig.logic.read(ENGINE + registers.ERROR) == 0
    assert waited, "no reset met a burst that was under way"


@pytest.mark.parametrize("seed", range(3))
def test_what_a_reset_writes_to_end_its_burst_changes_no_memory(rig: Rig, seed: int) -> None:
    beats = running(seed)
    clocks = clocks_of_a_run(rig, beats)
    rig.logic.set_latencies(Latencies(0))
    rig.logic.set_stalls(150, seed)
    met = 0
    for clock in range(0, 2 * clocks, 3):
        rig.back[:] = 0
        rig.start(beats, 8 * SAMPLES)
        rig.logic.run(clock)
        rig.logic.write(WRITE + CONTROL, RESET)
        before = rig.back.copy()
        met += rig.logic.owed > 0
        rig.reset()
        # The one beat that was being shown when the reset came may still count.
        assert (rig.back != before).sum() <= 1, clock
        rig.load()
    assert met


def test_writes_to_a_dma_that_resets_are_lost(rig: Rig) -> None:
    rig.logic.set_latencies(Latencies(0, first_beat=500))
    rig.reset()
    rig.start(loading(), 0)
    rig.logic.run(20)
    rig.logic.write(READ + CONTROL, RESET)
    rig.logic.write(READ + CONTROL, 1)
    rig.start(loading(), 8)
    assert rig.logic.read(READ + CONTROL) == RESET
    assert rig.logic.read(READ + LENGTH) == rig.logic.read(READ + ADDRESS) == 0
    rig.logic.run(1000)
    assert rig.logic.read(READ + CONTROL) == rig.logic.owed == 0
    assert rig.logic.read(READ + STATUS) == rig.logic.read(WRITE + STATUS) == 1


def test_a_length_written_while_a_transfer_is_under_way_starts_nothing(rig: Rig) -> None:
    rig.logic.set_latencies(Latencies(0))
    rig.reset()
    rig.load()
    beats = running(1)
    rig.start(beats, 8 * SAMPLES)
    for channel in (READ, WRITE):
        rig.logic.write(channel + LENGTH, 8)
    rig.wait(WRITE)
    np.testing.assert_array_equal(rig.back, answers(beats))


def forgetful(folder: Path) -> Path:
    """A board whose DMA does not wait for what is owed, and ends its write bursts a beat early."""
    changed = {
        "dma_read.v": ("drain && owes_nothing", "drain"),
        "dma_write.v": ("left == 5'd1", "left <= 5'd2"),
    }
    verilog = []
    for path in sources():
        old, new = changed.get(path.name, ("module", "module"))
        text = path.read_text()
        assert old in text
        (folder / path.name).write_text(text.replace(old, new))
        verilog.append(folder / path.name)
    return build("board", HARNESS / "board.cpp", {}, verilog=verilog)


def test_the_harness_sees_what_a_dma_does_wrong(tmp_path: Path) -> None:
    built = forgetful(tmp_path)
    for resets in (True, False):
        rig = Rig(built)
        rig.logic.set_latencies(Latencies(0))
        if resets:
            rig.logic.write(READ + CONTROL, 1)
            rig.start(running(1), 8 * SAMPLES)
            with pytest.raises(AssertionError):
                rig.reset()
        else:
            rig.reset()
            rig.load()
            with pytest.raises(BoardError, match="WLAST is not at the last beat"):
                rig.run(running(1))
        rig.logic.close()
