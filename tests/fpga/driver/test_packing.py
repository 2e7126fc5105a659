"""A run's packet in its buffer is the one that the artifact describes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga.artifact import INPUT, Artifact, Port
from fpga.driver.packing import Packing
from fpga.isa import packet
from fpga.isa.shape import SMALL


def artifact(blocks: int, order: tuple[int, ...]) -> Artifact:
    stream = [
        packet.command(packet.WSTREAM, 64 * place, np.full(SMALL.weight_beats, place + 1, "<u8"))
        for place in range(blocks)
    ]
    return Artifact(
        name="x", shape=SMALL, build="", input=Port("x", (20,), "NC", 1.0, 0),
        output=Port("y", (5,), "NC", 1.0, 0), load=np.zeros(0, "<u8"),
        stream=np.concatenate([np.zeros(0, "<u8"), *stream]), order=order, max_batch=16,
        latency_cycles=0, interval_cycles=0.0, cma_bytes=0,
    )  # fmt: skip


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 3), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_packets_are_the_artifacts_whatever_was_there_before(
    blocks: int, place: int, batches: list[int]
) -> None:
    order = list(range(blocks))
    order.insert(min(place, blocks), INPUT)
    made = artifact(blocks, tuple(order))
    packing, draw = Packing(made), np.random.default_rng(blocks)
    beats = np.full(packing.size(9), 7, "<u8")
    packing.prepare(beats)
    for samples in batches:
        payloads = draw.integers(0, 1 << 63, (samples, packing.input_beats), dtype=np.uint64)
        size = packing.fill(beats, payloads)
        assert (beats[:size] == made.run_packet(payloads)).all()
        assert 8 * size == made.run_bytes(samples)


def test_sizes_are_the_artifacts() -> None:
    packing = Packing(replace(artifact(0, (INPUT,)), max_batch=2))
    assert (packing.input_beats, packing.answer_beats, packing.sample_beats) == (3, 1, 4)
