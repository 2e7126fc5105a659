"""Random programs: whatever a descriptor says, the hardware gives the emulator's words, at any pace
of the streams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fpga.isa import registers
from fpga.isa.shape import EngineShape
from tests.fpga.rtl.bench import Bench
from tests.fpga.rtl.programs import TINY, WIDE, random_case

FULL = replace(TINY, rq=8, p_words=50)
SLOW = replace(TINY, rq=1, p_words=400)
HUGE = replace(WIDE, n=32, rq=8)


@pytest.mark.parametrize(
    ("shape", "pack", "count"),
    [(TINY, 1, 60), (TINY, 0, 60), (FULL, 1, 30), (SLOW, 1, 20), (WIDE, 1, 20), (HUGE, 1, 2)],
    ids=["8", "8-unpacked", "8-full", "8-slow", "16", "32"],
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
