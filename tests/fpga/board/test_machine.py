"""The board as its processor sees it: files, clocks, registers, DMA, and what breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fpga.board import bitstream, designs
from fpga.board.machine import FIRMWARE, MANAGER, Machine
from fpga.driver import bitfile
from fpga.emulator import EmulatedEngine
from fpga.errors import BoardError
from fpga.isa import packet, registers
from fpga.isa.descriptor import Descriptor, encode
from fpga.isa.parameter import encode_parameters
from fpga.isa.shape import BANK_OUT, BANK_X, SMALL, address

Array = Any
DESIGN = designs.simulated(SMALL)
DMA, ENGINE = registers.DMA_BASE, registers.ENGINE_BASE
pytestmark = pytest.mark.slow


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine("pynq-z2", cma_bytes=1 << 20)
    yield made
    made.close()


def program(machine: Machine, bit: bytes = DESIGN.bit) -> str:
    machine.write_file(FIRMWARE + "x.bin", bitstream.to_bin(bitfile.read_bit(bit).data))
    machine.write_file(MANAGER + "flags", b"0")
    machine.write_file(MANAGER + "firmware", b"x.bin")
    return machine.read_file(MANAGER + "state").decode().strip()


def test_a_bitstream_becomes_an_engine(machine: Machine) -> None:
    with pytest.raises(BoardError, match="nothing answers"):
        machine.read_register(ENGINE)
    assert program(machine) == "operating"
    assert machine.read_register(ENGINE + registers.ID) == registers.ID_VALUE
    build = "".join(f"{machine.read_register(ENGINE + at):08x}" for at in registers.BUILD)
    assert build == DESIGN.build
    assert machine.read_register(ENGINE + registers.SHAPE) == SMALL.n | SMALL.rq << 8
    assert machine.clock_mhz == 100.0


def test_a_bitstream_for_another_part_is_a_write_error_and_nothing_answers(
    machine: Machine,
) -> None:
    assert program(machine) == "operating"
    other = bitstream.make(
        bitstream.SimulatedDesign(SMALL, DESIGN.build), "xc7z010clg400-1", 0x03722093, "x"
    )
    assert program(machine, other) == "write error"
    with pytest.raises(BoardError):
        machine.read_register(ENGINE)


def test_damaged_and_missing_firmware_is_told_in_the_state(machine: Machine) -> None:
    machine.write_file(FIRMWARE + "bad.bin", b"\xff" * 400)
    machine.write_file(MANAGER + "firmware", b"bad.bin\n")
    assert machine.read_file(MANAGER + "state") == b"write error\n"
    machine.write_file(MANAGER + "firmware", b"none.bin")
    assert machine.read_file(MANAGER + "state") == b"firmware request error\n"
    with pytest.raises(FileNotFoundError):
        machine.read_file("/etc/shadow")


def test_leds_shine(machine: Machine) -> None:
    program(machine)
    machine.write_register(registers.LEDS_BASE + 4, 0)
    machine.write_register(registers.LEDS_BASE, 0b1010)
    assert machine.logic is not None
    assert machine.logic.leds == 0b1010


class Dma:
    """A few lines of driver, to try the DMA alone."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.out = machine.memory.allocate(1 << 16, is_cacheable=False)
        self.back = machine.memory.allocate(1 << 16, is_cacheable=False)
        self.reset()

    def reset(self) -> None:
        self.machine.write_register(DMA, 4)
        assert any(not self.machine.read_register(DMA) & 4 for _ in range(200))
        for channel in (DMA, DMA + 0x30):
            self.machine.write_register(channel, 1)

    def transfer(self, beats: Array, room: int) -> int:
        """The status registers, joined, at the end or after a while."""
        data = beats.view(np.uint8)
        self.out.shadow[: len(data)] = data
        if room:
            self.machine.write_register(DMA + 0x48, self.back.address)
            self.machine.write_register(DMA + 0x58, room)
        self.machine.write_register(DMA + 0x18, self.out.address)
        self.machine.write_register(DMA + 0x28, len(data))
        status = 0
        for _ in range(300):
            status = self.status
            if status & 0x700070 or (status & 2 and (not room or status & 0x20000)):
                break
        return status

    @property
    def status(self) -> int:
        read = self.machine.read_register
        return read(DMA + 4) | read(DMA + 0x34) << 16


def one_layer() -> Array:
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


def run_packet(samples: int) -> Array:
    draw = np.random.default_rng(samples)
    words = draw.integers(-128, 128, (samples, 8)).astype(np.int8)
    return packet.join(
        [packet.run(samples), *(packet.command(packet.INPUT, 0, word) for word in words)]
    )


@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 200])
def test_the_dma_brings_packets_to_the_engine_and_back(machine: Machine, samples: int) -> None:
    program(machine)
    dma, emulated = Dma(machine), EmulatedEngine(SMALL)
    assert dma.transfer(one_layer(), 0) & 2
    emulated.send(one_layer())
    (expected,) = emulated.send(run_packet(samples))
    assert dma.transfer(run_packet(samples), 8 * samples) & 0x20002 == 0x20002
    assert machine.read_register(DMA + 0x58) == 8 * samples
    assert dma.back.shadow[: 8 * samples].view(np.uint64).tolist() == expected.tolist()


def test_a_packet_longer_than_its_buffer_is_an_error_and_a_reset_mends_it(machine: Machine) -> None:
    program(machine)
    dma = Dma(machine)
    dma.transfer(one_layer(), 0)
    status = dma.transfer(run_packet(4), 16)
    assert status >> 16 & 0x10, hex(status)
    dma.reset()
    machine.write_register(ENGINE + registers.CONTROL, registers.CONTROL_RESET)
    dma.transfer(one_layer(), 0)
    assert dma.transfer(run_packet(4), 32) & 0x20002 == 0x20002


def test_memory_that_refuses_and_memory_that_is_not_there_are_told_apart(machine: Machine) -> None:
    program(machine)
    dma = Dma(machine)
    machine.set_faults(slave_error=True)
    assert dma.transfer(one_layer(), 0) & 0x20
    machine.set_faults()
    dma.reset()
    machine.write_register(DMA + 0x18, 0x70000000)
    machine.write_register(DMA + 0x28, 64)
    assert any(dma.status & 0x40 for _ in range(20))


def test_lengths_and_addresses_that_are_no_whole_beats_are_refused(machine: Machine) -> None:
    program(machine)
    dma = Dma(machine)
    for place, length in ((dma.out.address + 4, 64), (dma.out.address, 12), (dma.out.address, 0)):
        dma.reset()
        machine.write_register(DMA + 0x18, place)
        machine.write_register(DMA + 0x28, length)
        assert dma.status & 0x11 == 0x11


def test_what_stands_still_stays_so_until_the_reset(machine: Machine) -> None:
    program(machine)
    dma = Dma(machine)
    dma.transfer(one_layer(), 0)
    for faults in ({"stall": True}, {"drop_last": True}):
        machine.set_faults(**faults)
        assert not dma.transfer(run_packet(2), 64) & 0x20000
        machine.set_faults()
        dma.reset()
        machine.write_register(ENGINE + registers.CONTROL, registers.CONTROL_RESET)
        dma.transfer(one_layer(), 0)
        assert dma.transfer(run_packet(2), 16) & 0x20002 == 0x20002


def test_faults_of_the_manager(machine: Machine) -> None:
    machine.set_faults(write_error=True)
    assert program(machine) == "write error"
    machine.set_faults(stale_image=True)
    assert program(machine) == "operating"
    assert machine.logic is None


def test_time_goes_by_without_an_access_until_what_is_under_way_is_done(machine: Machine) -> None:
    program(machine)
    dma = Dma(machine)
    dma.transfer(one_layer(), 0)
    logic = machine.logic
    assert logic is not None
    machine.pass_time(100_000)
    machine.write_register(DMA + 0x48, dma.back.address)
    machine.write_register(DMA + 0x58, 64)
    began = logic.clock
    machine.pass_time(1000)  # nothing is sent: an answer does not come
    assert began + 1000 <= logic.clock < began + 2000
    beats = run_packet(8)
    dma.out.shadow[: beats.nbytes] = beats.view(np.uint8)
    machine.write_register(DMA + 0x18, dma.out.address)
    machine.write_register(DMA + 0x28, beats.nbytes)
    machine.pass_time(100_000)
    assert dma.status & 0x20002 == 0x20002
    done = logic.clock
    assert done < began + 10_000
    machine.pass_time(100_000)
    assert logic.clock == done
