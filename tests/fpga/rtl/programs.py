"""Random programs: whatever a descriptor can say, in any combination that the emulator accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fpga.emulator import EmulatedEngine
from fpga.emulator.layer import places, reads
from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.descriptor import DENSE, MAX, PER_TILE, Descriptor, check_program, encode
from fpga.isa.parameter import encode_parameters
from fpga.isa.shape import BANK_A, BANK_B, BANK_OUT, BANK_X, EngineShape, address

Array = Any
Generator = np.random.Generator
_RACE = re.compile(r"layer (\d+) may read what a layer (\d+) slots before")

TINY = EngineShape(
    n=8, rq=4, w_words=300, p_words=100, d_words=16, x_words=192, a_words=200, b_words=256
)
WIDE = EngineShape(
    n=16, rq=4, w_words=256, p_words=160, d_words=16, x_words=192, a_words=200, b_words=256
)
FULL = replace(TINY, rq=8, p_words=50)
SLOW = replace(TINY, rq=1, p_words=400)
BUSY = replace(WIDE, rq=16, p_words=40)  # results faster than they leave
HUGE = replace(WIDE, n=32, rq=8)


def slow(shape: EngineShape, pack: int, count: int) -> Any:
    """A parameter set of its own library: the test that takes it is a slow one."""
    return pytest.param(shape, pack, count, marks=pytest.mark.slow)


@dataclass(frozen=True)
class Case:
    """A program with its data: packets to load it and to run it, and the packet it answers."""

    shape: EngineShape
    program: tuple[Descriptor, ...]
    loading: Array
    running: Array
    answer: Array
    samples: int


def random_case(seed: int, shape: EngineShape) -> Case:
    """A case that the emulator runs without complaint; in_flight at most as it allows."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        program = _program(rng, shape)
        loading = _loading(rng, shape, program)
        samples = int(rng.choice([1, 1, 2, 3, 4, 7]))
        running = _running(rng, shape, program, samples)
        found = _without_races(shape, program, loading, running)
        if found is not None:
            program, loading, answer = found
            return Case(shape, program, loading, running, answer, samples)
    raise AssertionError(f"no program for seed {seed}")


def _without_races(
    shape: EngineShape, program: tuple[Descriptor, ...], loading: Array, running: Array
) -> tuple[tuple[Descriptor, ...], Array, Array] | None:
    for _ in range(100):
        engine = EmulatedEngine(shape)
        described = np.concatenate([encode(layer) for layer in program])
        everything = packet.join([loading, packet.command(packet.DESC, 0, described)])
        try:
            check_program(program, shape)
            engine.send(everything)
            return program, everything, engine.send(running)[0]
        except ProgramError as error:
            race = _RACE.match(str(error))
            if race is None:
                return None
            number, distance = int(race[1]), int(race[2])
            changed = replace(program[number], in_flight=distance - 1)
            program = (*program[:number], changed, *program[number + 1 :])
    return None


def _program(rng: Generator, shape: EngineShape) -> tuple[Descriptor, ...]:
    count = int(rng.integers(1, 7))
    stages = np.cumsum(rng.random(count) < rng.choice([0, 0.3, 1])) * 1
    stages -= stages[0]
    layers: list[Descriptor] = []
    for number in range(count):
        src_bank = (
            BANK_X if number == 0 else int(rng.choice([BANK_X, BANK_A, BANK_B, BANK_A, BANK_B]))
        )
        layers.append(_layer(rng, shape, src_bank, int(stages[number]), number == count - 1))
    if not any(layer.dst_bank == BANK_OUT for layer in layers):
        layers[0] = replace(layers[0], dst=address(BANK_OUT, 0))
    reader = max(number for number, layer in enumerate(layers) if layer.src_bank == BANK_X)
    layers[reader] = replace(layers[reader], releases_x=True)
    if rng.random() < 0.3:
        layers = _streamed(rng, layers)
    return tuple(layers)


def _streamed(rng: Generator, layers: list[Descriptor]) -> list[Descriptor]:
    """Two layers or more of the last stage get their weights streamed, each to its own place."""
    last = layers[-1].stage
    chosen = [n for n, d in enumerate(layers) if d.stage == last and d.kind != MAX]
    if len(chosen) < 2:
        return layers
    base, changed = 0, list(layers)
    for number in chosen:
        changed[number] = replace(layers[number], is_streamed=True, w_base=base)
        base += layers[number].weight_words
    for number in set(range(len(layers))) - set(chosen):
        changed[number] = replace(layers[number], w_base=max(layers[number].w_base, base))
    return changed


def _layer(
    rng: Generator, shape: EngineShape, src_bank: int, stage: int, is_last: bool
) -> Descriptor:
    """A layer that fits, found by trying."""
    while True:
        layer = _any_layer(rng, shape, src_bank, stage, is_last)
        try:
            check_program(
                (replace(layer, src=layer.src & 0x3FFF, releases_x=True, is_last=True),), shape
            )
        except ProgramError:
            continue
        if layer.taps * layer.result_words > 1500 or layer.taps * shape.n > 700:
            continue
        x_end = layer.src_alt + (layer.ih - 1) * layer.src_row + (layer.iw - 1) * layer.src_pixel
        tiles = layer.ict if layer.kind == DENSE else layer.oct
        if src_bank == BANK_X and x_end - layer.src_alt + tiles + layer.src > shape.x_half:
            continue
        if src_bank in (BANK_A, BANK_B) and x_end + tiles > shape.bank_words(src_bank):
            continue
        if _overwrites_itself(layer) or not reads(layer, False).used.size:
            continue
        return layer


def _overwrites_itself(layer: Descriptor) -> bool:
    """Would results be written over what the layer has still to read? Then time decides."""
    for is_odd in (False, True):
        results = places(layer.dst, layer.dst_alt, layer.dst_pixel, layer, is_odd)
        is_same = layer.dst_bank == layer.src_bank
        if is_same and np.isin(reads(layer, is_odd).used, results).any():
            return True
        if layer.has_residual and layer.dst_bank == layer.res_bank:
            residuals = places(layer.res, layer.res_alt, layer.res_pixel, layer, is_odd)
            shared = np.isin(residuals, results)
            if (residuals[shared] != results[shared]).any():
                return True
    return False


def _any_layer(
    rng: Generator, shape: EngineShape, src_bank: int, stage: int, is_last: bool
) -> Descriptor:
    def upto(least: int, most: int) -> int:
        return int(rng.integers(least, most + 1))

    flat = rng.random() < 0.3
    kind = int(rng.choice([DENSE, DENSE, PER_TILE, MAX]))
    kh, kw = (1, 1) if flat else (upto(1, 4), upto(1, 4))
    ict, oct = upto(1, 4), upto(1, 3)
    src_pixel = (ict if kind == DENSE else oct) + upto(0, 2)
    iw = 1 if flat else upto(1, 7)
    dst_bank = BANK_OUT if rng.random() < (0.8 if is_last else 0.15) else upto(BANK_A, BANK_B)
    res_bank = BANK_B if src_bank == BANK_A else BANK_A if src_bank == BANK_B else upto(1, 2)
    zeros = [upto(-128, 127) for _ in range(4)]
    lo1, hi1 = sorted((upto(-128, 40), upto(-40, 127)))
    lo, hi = sorted((upto(-128, 40), upto(-40, 127)))
    return Descriptor(
        kind=kind,
        has_residual=rng.random() < 0.3,
        has_fixed_weight=rng.random() < 0.2,
        is_last=is_last,
        stage=stage,
        in_flight=int(rng.choice([0, 1, 2, 3, 63, 63])),
        src=address(src_bank, upto(0, 30)),
        src_alt=shape.x_half if src_bank == BANK_X else int(rng.choice([0, upto(0, 60)])),
        dst=address(dst_bank, upto(0, 60)),
        dst_alt=int(rng.choice([0, upto(0, 60)])),
        res=address(res_bank, upto(0, 60)),
        res_alt=int(rng.choice([0, upto(0, 60)])),
        w_base=upto(0, shape.w_words // 2),
        p_base=upto(0, shape.p_words // 2),
        ih=1 if flat else upto(1, 7),
        iw=iw,
        oh=1 if flat else upto(1, 6),
        ow=1 if flat else upto(1, 6),
        kh=kh,
        kw=kw,
        sy=upto(1, 3),
        sx=int(rng.choice([1, 2, 15])),
        pt=0 if flat else upto(0, 3),
        pl=0 if flat else upto(0, 3),
        ict=ict,
        oct=oct,
        src_pixel=src_pixel,
        src_row=iw * src_pixel + upto(0, 3),
        dst_pixel=oct + upto(0, 2),
        res_pixel=upto(0, oct + 1),
        pad=zeros[0],
        z1=zeros[1],
        lo1=lo1,
        hi1=hi1,
        zr=zeros[2],
        zo=zeros[3],
        lo=lo,
        hi=hi,
        ma=int(rng.integers(0, 1 << 24)),
        mb=int(rng.integers(0, 1 << 24)),
        sh=int(rng.choice([0, 12, 20, 23, 24, 25, 26, 31])),
    )


def _loading(rng: Generator, shape: EngineShape, program: tuple[Descriptor, ...]) -> Array:
    count = shape.p_words * shape.rq
    bias = rng.integers(-3000, 3000, count)
    scale = np.exp(rng.uniform(np.log(1e-4), np.log(1e-1), count)).astype(np.float32)
    scale[rng.random(count) < 0.1] = 1.0
    scale[rng.random(count) < 0.05] = 0.0
    weights = rng.integers(-128, 128, (shape.w_words, shape.n, shape.n), np.int8)
    weights[rng.random(weights.shape) < 0.1] = -128
    return packet.join(
        [
            packet.command(packet.WEIGHT, 0, weights),
            packet.command(packet.PARAM, 0, encode_parameters(bias, scale)),
        ]
    )


def slots(program: tuple[Descriptor, ...], samples: int) -> Iterator[tuple[Descriptor, int]]:
    """(layer, sample) of the slots that are computed, in order."""
    depth = 1 + max(layer.stage for layer in program)
    for turn in range(samples + depth - 1):
        for layer in program:
            if 0 <= turn - layer.stage < samples:
                yield layer, turn - layer.stage


def _running(
    rng: Generator, shape: EngineShape, program: tuple[Descriptor, ...], samples: int
) -> Array:
    """RUN, then inputs and streamed weights in the order in which they are needed, or, where no
    weights are streamed, all the same."""
    parts = [packet.run(samples)]
    given = 0
    for layer, sample in slots(program, samples):
        if layer.src_bank == BANK_X and sample >= given:
            values = rng.integers(-128, 128, shape.x_half * shape.n, np.int8)
            values[rng.random(len(values)) < 0.1] = -128
            parts.append(packet.command(packet.INPUT, 0, values))
            given += 1
        if layer.is_streamed:
            block = rng.integers(-128, 128, layer.weight_words * shape.n**2, np.int8)
            parts.append(packet.command(packet.WSTREAM, layer.w_base, block))
    return packet.join(parts)
