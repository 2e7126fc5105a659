"""Random programs: whatever a descriptor says, the hardware gives the emulator's words, at any pace
of the streams."""

from __future__ import annotations

import numpy as np
import pytest

from fpga.isa import registers
from fpga.isa.shape import EngineShape
from tests.fpga.rtl.bench import Bench
from tests.fpga.rtl.programs import FULL, HUGE, SLOW, TINY, WIDE, random_case, slow


@pytest.mark.parametrize(
    ("shape", "pack", "count"),
    [(TINY, 1, 60), (FULL, 0, 40), (WIDE, 1, 20), slow(SLOW, 1, 20), slow(HUGE, 1, 4)],
    ids=["8", "8-full", "16", "8-slow", "32"],
)
@pytest.mark.parametrize("rates", [(256, 256), (90, 256), (256, 50), (180, 180)], ids=str)
def test_random_programs_give_the_emulators_words(
    shape: EngineShape, pack: int, count: int, rates: tuple[int, int]
) -> None:
    for seed in range(count):
        case = random_case(seed, shape)
        with Bench(shape, pack) as bench:
            bench.send(case.loading, in_rate=rates[0], seed=seed)
            output = bench.send(
                case.running, 1, in_rate=rates[0], out_rate=rates[1], limit=500_000, seed=seed
            )
            packets = output.packets()
            assert len(packets) == 1, seed
            assert np.array_equal(packets[0], case.answer), seed
            bench.wait_idle()
            assert bench.read(registers.ERROR) == 0
            assert bench.read(registers.SAMPLES) == case.samples
            assert bench.read(registers.BEATS_OUT) == len(case.answer)


def test_with_the_hard_blocks_of_an_ecp5_it_is_the_same_engine() -> None:
    for seed in range(20):
        case = random_case(seed, TINY)
        with Bench(TINY, 0, ecp5=True) as bench:
            bench.send(case.loading, in_rate=180, seed=seed)
            output = bench.send(case.running, 1, in_rate=180, out_rate=180, seed=seed)
            assert np.array_equal(output.packets()[0], case.answer), seed
