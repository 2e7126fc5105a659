"""What the loader refuses, and how the engine comes back from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fpga.emulator import EmulatedEngine
from fpga.isa import packet, registers
from tests.fpga.rtl.bench import Bench
from tests.fpga.rtl.networks import Network, mlp, running
from tests.fpga.rtl.programs import TINY

Array = Any
NETWORK = mlp(np.random.default_rng(1), TINY, [64, 32, 10])
INPUT = NETWORK.inputs(np.random.default_rng(2), 2, TINY.n)
ENTRY = np.zeros(TINY.rq, np.uint64)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(TINY) as made:
        yield made


def answers(bench: Bench, network: Network, inputs: Array) -> bool:
    """Does it run the network rightly?"""
    emulated = EmulatedEngine(TINY)
    emulated.send(network.loading())
    got = bench.send(running(inputs), 1, limit=20_000).packets()
    return len(got) == 1 and bool(np.array_equal(got[0], emulated.send(running(inputs))[0]))


def header(op: int, address: int, count: int, magic: int = packet.MAGIC) -> Array:
    return np.array([op | magic << 8 | address << 16 | count << 32], np.uint64)


GOOD = packet.command(packet.PARAM, 0, ENTRY)
FAULTS = {
    "magic": (1, 0, header(packet.PARAM, 0, 4, magic=0xA4)),
    "op 0": (1, 0, header(0, 0, 4)),
    "op 7": (1, 0, header(7, 0, 4)),
    "second command": (1, 1, packet.join([GOOD, header(9, 0, 4)])),
    "cut short": (2, 0, GOOD[:-1]),
    "header only": (2, 0, GOOD[:1]),
    "third command cut short": (2, 2, packet.join([GOOD, GOOD, GOOD[:3]])),
    "input without run": (3, 0, packet.command(packet.INPUT, 0, INPUT[0])),
    "one input more": (
        3,
        3,
        packet.join([running(INPUT), packet.command(packet.INPUT, 0, INPUT[0])]),
    ),
    "streamed weights without run": (3, 0, packet.command(packet.WSTREAM, 0, NETWORK.weights[:1])),
    "ragged": (4, 0, packet.command(packet.PARAM, 0, np.zeros(6, np.uint64))),
    "empty": (4, 0, header(packet.WEIGHT, 0, 0)),
    "beyond parameters": (4, 0, packet.command(packet.PARAM, TINY.p_words, ENTRY)),
    "beyond weights": (
        4,
        0,
        packet.command(packet.WEIGHT, TINY.w_words - 1, np.zeros((2, 8, 8), np.int8)),
    ),
    "beyond descriptors": (4, 0, packet.command(packet.DESC, TINY.d_words, np.zeros(8, np.uint64))),
    "beyond the half": (
        4,
        1,
        packet.join([packet.run(1), packet.command(packet.INPUT, TINY.x_half, INPUT[0])]),
    ),
    "huge count": (4, 0, packet.join([header(packet.WEIGHT, 0, 0xFFFFFFF8), np.zeros(9, "<u8")])),
    "no samples": (5, 0, packet.run(0)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_packet_is_dropped_whole_and_a_soft_reset_forgets_it(
    bench: Bench, fault: str
) -> None:
    code, number, beats = FAULTS[fault]
    bench.send(NETWORK.loading())
    bench.write(registers.MODEL, 77)
    assert bench.send(beats, limit=5_000).taken == len(beats)
    bench.run(4)
    assert bench.read(registers.ERROR) == code | number << 8
    assert bench.read(registers.STATUS) & registers.STATUS_ERROR
    # Until the reset everything is dropped, and the first error stays.
    assert bench.send(NETWORK.loading(), limit=5_000).taken == len(NETWORK.loading())
    assert bench.read(registers.ERROR) == code | number << 8
    assert bench.read(registers.MODEL) == 77
    bench.write(registers.CONTROL, registers.CONTROL_RESET)
    assert bench.read(registers.ERROR) == 0
    assert bench.read(registers.STATUS) == registers.STATUS_IDLE
    for register in (registers.MODEL, registers.BEATS_IN, registers.SAMPLES):
        assert bench.read(register) == 0
    bench.send(NETWORK.loading())
    assert answers(bench, NETWORK, INPUT)


def test_a_run_before_any_descriptor_is_an_error(bench: Bench) -> None:
    bench.send(packet.run(1))
    bench.run(4)
    assert bench.read(registers.ERROR) == 5


def test_a_soft_reset_in_the_middle_of_a_packet_or_of_a_run_keeps_the_memories(
    bench: Bench,
) -> None:
    bench.send(NETWORK.loading())
    whole = running(INPUT)
    for beats in range(1, len(whole)):
        bench.send(whole[:beats], lasts=np.zeros(beats, np.uint8), limit=1_000)
        bench.run(beats % 7 * 5)
        bench.write(registers.CONTROL, registers.CONTROL_RESET)
        assert answers(bench, NETWORK, INPUT), beats


def test_a_second_run_in_the_packet_waits_for_the_first(bench: Bench) -> None:
    bench.send(NETWORK.loading())
    emulated = EmulatedEngine(TINY)
    emulated.send(NETWORK.loading())
    both = packet.join([running(INPUT), NETWORK.loading(), running(INPUT[:1]), running(INPUT)])
    got = bench.send(both, 3, limit=20_000).packets()
    want = emulated.send(both)
    assert len(got) == 3
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    bench.wait_idle()
    assert bench.read(registers.SAMPLES) == 5


def test_inputs_can_come_in_packets_of_their_own(bench: Bench) -> None:
    bench.send(NETWORK.loading())
    emulated = EmulatedEngine(TINY)
    emulated.send(NETWORK.loading())
    whole = running(INPUT)
    lasts = np.zeros(len(whole), np.uint8)
    lasts[[0, 9, 18]] = 1
    got = bench.send(whole, 1, lasts=lasts, limit=20_000).packets()
    np.testing.assert_array_equal(got[0], emulated.send(whole)[0])


def test_registers_say_what_the_engine_is(bench: Bench) -> None:
    assert bench.read(registers.ID) == registers.ID_VALUE
    assert bench.read(registers.VERSION) == registers.VERSION_VALUE
    assert bench.read(registers.SHAPE) == TINY.n | TINY.rq << 8
    assert bench.read(registers.W_WORDS) == TINY.w_words
    assert bench.read(registers.P_D_WORDS) == TINY.p_words | TINY.d_words << 16
    assert bench.read(registers.X_WORDS) == TINY.x_words
    assert bench.read(registers.A_B_WORDS) == TINY.a_words | TINY.b_words << 16
    bench.write(0x1C, 5)
    bench.write(0xF0, 5)
    assert bench.read(0x1C) == 0
    assert bench.read(0xF0) == 0
    bench.write(registers.MODEL, 0x12345678)
    assert bench.read(registers.MODEL) == 0x12345678
