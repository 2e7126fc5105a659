"""What is predicted is what the hardware's registers say, to the clock."""

from __future__ import annotations

import numpy as np
import pytest

from fpga.errors import ProgramError
from fpga.isa import packet, registers
from fpga.isa.shape import EngineShape
from fpga.timing import predict
from fpga.timing.pipeline import SETTLES
from tests.fpga.rtl.bench import Bench
from tests.fpga.rtl.networks import mlp, running
from tests.fpga.rtl.programs import BUSY, FULL, SLOW, TINY, WIDE, random_case, slow


@pytest.mark.parametrize(
    ("shape", "pack", "count"),
    [(TINY, 1, 60), (FULL, 0, 60), (WIDE, 1, 20), slow(SLOW, 1, 40), slow(BUSY, 1, 30)],
    ids=["8", "8-full", "16", "8-slow", "16-full"],
)
def test_random_programs_take_the_predicted_clocks(
    shape: EngineShape, pack: int, count: int
) -> None:
    for seed in range(count):
        case = random_case(seed, shape)
        rng = np.random.default_rng(seed)
        pauses = rng.choice([0, 0, 0, 1, 7], len(case.running)) if seed % 2 else 0
        times = np.arange(len(case.running)) + np.cumsum(pauses * np.ones(len(case.running)))
        times = times.astype(np.int64) - int(times[0])
        with Bench(shape, pack) as bench:
            bench.send(case.loading)
            bench.run(SETTLES)
            output = bench.send(case.running, 1, times=times, limit=500_000)
            bench.wait_idle()
            predicted = predict(shape, case.program, case.running, times)
            assert bench.read(registers.ARRAY_CYCLES) == predicted.array_cycles, seed
            assert bench.read(registers.CYCLES_LOW) == predicted.cycles, seed
            assert output.times[-1] == predicted.ends, seed


@pytest.mark.parametrize(("shape", "widths"), [(TINY, [64, 32, 10]), (WIDE, [784, 64, 64, 64, 10])])
def test_networks_take_the_predicted_clocks(shape: EngineShape, widths: list[int]) -> None:
    rng = np.random.default_rng(7)
    network = mlp(rng, shape, widths)
    with Bench(shape) as bench:
        bench.send(network.loading())
        bench.run(SETTLES)
        for samples in (1, 2, 33):
            beats = running(network.inputs(rng, samples, shape.n))
            bench.send(beats, packets=1)
            predicted = predict(shape, network.program, beats)
            assert bench.read(registers.CYCLES_LOW) == predicted.cycles


def test_the_second_run_of_a_packet_waits_for_the_first() -> None:
    rng = np.random.default_rng(7)
    network = mlp(rng, TINY, [64, 32, 10])
    inputs = network.inputs(rng, 5, TINY.n)
    beats = packet.join([running(inputs), network.loading(), running(inputs[:2])])
    with Bench(TINY) as bench:
        bench.send(network.loading())
        bench.run(SETTLES)
        output = bench.send(beats, packets=2)
        predicted = predict(TINY, network.program, beats)
        assert bench.read(registers.CYCLES_LOW) == predicted.cycles
        assert output.times[-1] == predicted.ends


def test_a_packet_that_would_hang_is_an_error() -> None:
    rng = np.random.default_rng(7)
    network = mlp(rng, TINY, [64, 32, 10])
    short = packet.join([packet.run(2), packet.command(packet.INPUT, 0, np.zeros(64, np.int8))])
    with pytest.raises(ProgramError, match="lacks an input"):
        predict(TINY, network.program, short)
