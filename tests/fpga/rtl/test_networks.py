"""Networks of dense layers: the same words as the emulator, in as many clocks as promised."""

from __future__ import annotations

import numpy as np
import pytest

from fpga.emulator import EmulatedEngine
from fpga.isa import registers
from fpga.isa.shape import EngineShape
from tests.fpga.rtl.bench import Bench
from tests.fpga.rtl.networks import mlp, running
from tests.fpga.rtl.programs import TINY, WIDE


@pytest.mark.parametrize(
    ("shape", "widths", "latency", "interval"),
    [(TINY, [64, 32, 10], 80, 46), (WIDE, [784, 64, 64, 64, 10], 370, 260)],
)
def test_networks_give_the_emulators_words_within_the_promised_clocks(
    shape: EngineShape, widths: list[int], latency: int, interval: int
) -> None:
    rng = np.random.default_rng(7)
    network = mlp(rng, shape, widths)
    emulated = EmulatedEngine(shape)
    emulated.send(network.loading())
    cycles = {}
    with Bench(shape) as bench:
        bench.send(network.loading())
        for samples in (1, 2, 33, 97):
            packet = running(network.inputs(rng, samples, shape.n))
            answers = bench.send(packet, packets=1).packets()
            assert len(answers) == 1
            np.testing.assert_array_equal(answers[0], emulated.send(packet)[0])
            cycles[samples] = bench.read(registers.CYCLES_LOW)
            assert bench.read(registers.ERROR) == 0
        assert bench.read(registers.SAMPLES) == 133
    assert cycles[1] <= latency
    assert (cycles[97] - cycles[33]) / 64 <= interval
