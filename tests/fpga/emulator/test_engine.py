"""The emulated engine computes what plain loops over the contract's text compute, and finds
programs that would hang or race."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fpga.emulator import EmulatedEngine
from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.descriptor import DENSE, MAX, PER_TILE, Descriptor, encode
from fpga.isa.parameter import encode_parameters
from fpga.isa.shape import BANK_A, BANK_B, BANK_OUT, BANK_X, WORD_MASK, EngineShape, address

Array = Any
SHAPE = EngineShape(
    n=8, rq=4, w_words=64, p_words=32, d_words=8, x_words=64, a_words=64, b_words=64
)


def plain(layer: Descriptor, engine: EmulatedEngine, bias: Array, scale: Array) -> Array:
    """Section 2 of the contract, read aloud: results [pixels, OCT, N]."""
    n, bank = SHAPE.n, engine.banks[layer.src_bank]
    base = layer.src & WORD_MASK
    out = np.zeros((layer.oh * layer.ow, layer.oct, n), np.int64)
    for pixel in range(layer.oh * layer.ow):
        w = layer.w_base
        for tile in range(layer.oct):
            acc = np.full(n, -128 if layer.kind == MAX else 0, np.int64)
            for ky in range(layer.kh):
                for kx in range(layer.kw):
                    for ict in range(layer.ict) if layer.kind == DENSE else [tile]:
                        y = pixel // layer.ow * layer.sy - layer.pt + ky
                        x = pixel % layer.ow * layer.sx - layer.pl + kx
                        word = np.full(n, layer.pad, np.int64)
                        if 0 <= y < layer.ih and 0 <= x < layer.iw:
                            at = base + y * layer.src_row + x * layer.src_pixel + ict
                            word = bank[at].astype(np.int64)
                        if layer.kind == MAX:
                            acc = np.maximum(acc, word)
                        else:
                            acc = acc + engine.weights[w].astype(np.int64) @ word
                        w += 0 if layer.has_fixed_weight else 1
            product = (acc + bias[tile]).astype(np.float32) * scale[tile].astype(np.float32)
            value = np.clip(np.rint(product) + layer.z1, layer.lo1, layer.hi1)
            out[pixel, tile] = value
    return out


def engine_with(layers: list[Descriptor], seed: int) -> tuple[EmulatedEngine, Array, Array]:
    draw = np.random.default_rng(seed)
    engine = EmulatedEngine(SHAPE)
    entries = SHAPE.p_words // SHAPE.groups
    bias = draw.integers(-500, 500, (entries, SHAPE.n))
    scale = draw.uniform(0.001, 0.02, (entries, SHAPE.n)).astype(np.float32)
    weights = draw.integers(-128, 128, (SHAPE.w_words, SHAPE.n, SHAPE.n)).astype(np.int8)
    load = [
        packet.command(packet.DESC, 0, np.concatenate([encode(layer) for layer in layers])),
        packet.command(packet.PARAM, 0, encode_parameters(bias, scale)),
        packet.command(packet.WEIGHT, 0, weights),
    ]
    assert engine.send(packet.join(load)) == []
    return engine, bias, scale


def given_input(seed: int, words: int) -> Array:
    draw = np.random.default_rng(seed)
    return draw.integers(-128, 128, (words, SHAPE.n)).astype(np.int8)


ONE = Descriptor(
    src=address(BANK_X, 0), dst=address(BANK_OUT, 0), releases_x=True, is_last=True, z1=3, pad=-7
)


@pytest.mark.parametrize(
    "layer",
    [
        replace(ONE, ict=4, oct=3, src_pixel=4),
        replace(
            ONE,
            ict=2,
            oct=2,
            ih=3,
            iw=4,
            oh=3,
            ow=4,
            kh=3,
            kw=3,
            pt=1,
            pl=1,
            src_pixel=2,
            src_row=8,
        ),
        replace(
            ONE,
            ih=5,
            iw=5,
            oh=2,
            ow=2,
            kh=3,
            kw=2,
            sy=2,
            sx=2,
            src_row=5,
            w_base=9,
            lo1=-20,
            hi1=20,
        ),
        replace(
            ONE,
            kind=PER_TILE,
            oct=2,
            ih=4,
            iw=4,
            oh=2,
            ow=2,
            kh=2,
            kw=2,
            sy=2,
            sx=2,
            src_pixel=2,
            src_row=8,
        ),
        replace(
            ONE,
            kind=PER_TILE,
            oct=2,
            ih=4,
            iw=4,
            kh=4,
            kw=4,
            src_pixel=2,
            src_row=8,
            has_fixed_weight=True,
        ),
        replace(
            ONE,
            kind=MAX,
            oct=2,
            ih=4,
            iw=4,
            oh=3,
            ow=3,
            kh=3,
            kw=3,
            pt=1,
            pl=1,
            src_pixel=2,
            src_row=8,
        ),
    ],
)
def test_a_layer_computes_what_its_text_says(layer: Descriptor) -> None:
    engine, bias, scale = engine_with([layer], seed=5)
    words = given_input(6, 32)
    (found,) = engine.send(packet.join([packet.run(1), packet.command(packet.INPUT, 0, words)]))
    expected = plain(layer, engine, bias, scale)
    assert found.view(np.int8).tolist() == expected.reshape(-1).tolist()


def two_layers(**second: Any) -> list[Descriptor]:
    return [
        Descriptor(
            src=address(BANK_X, 0),
            dst=address(BANK_A, 0),
            releases_x=True,
            oct=2,
            dst_alt=2,
            src_alt=SHAPE.x_half,
        ),
        replace(
            Descriptor(
                src=address(BANK_A, 0),
                src_alt=2,
                dst=address(BANK_OUT, 0),
                ict=2,
                is_last=True,
                w_base=2,
                p_base=4,
            ),
            **second,
        ),
    ]


def send(
    layers: list[Descriptor], inputs: int, samples: int | None = None, words: int = 1
) -> Array:
    engine, _, _ = engine_with(layers, seed=7)
    parts = [packet.run(samples or inputs)]
    parts += [packet.command(packet.INPUT, 0, given_input(n, words)) for n in range(inputs)]
    (found,) = engine.send(packet.join(parts))
    return found


def test_samples_interleaved_are_samples_one_by_one() -> None:
    staged = two_layers(stage=1, in_flight=2)
    together = send(staged, 5)
    assert together.tolist() == send(two_layers(), 5).tolist()
    assert len(set(together.tolist())) == 5


def test_a_layer_that_may_read_too_early_is_found() -> None:
    with pytest.raises(ProgramError, match="layer 1 may read"):
        send(two_layers(stage=1, in_flight=3), 3)
    with pytest.raises(ProgramError, match="layer 1 may read"):
        send(two_layers(in_flight=1), 1)


def test_a_run_needs_all_its_inputs_and_no_more() -> None:
    with pytest.raises(ProgramError, match="waits for ever for the input of sample 1"):
        send(two_layers(), 1, samples=2)
    with pytest.raises(ProgramError, match="no run asked for"):
        send(two_layers(), 3, samples=2)


def test_residual_is_added() -> None:
    layers = [
        Descriptor(src=address(BANK_X, 0), dst=address(BANK_A, 0)),
        Descriptor(
            src=address(BANK_X, 0), dst=address(BANK_B, 0), releases_x=True, w_base=1, p_base=2
        ),
        Descriptor(
            src=address(BANK_B, 0),
            dst=address(BANK_OUT, 0),
            has_residual=True,
            is_last=True,
            res=address(BANK_A, 0),
            ma=3,
            mb=5,
            sh=2,
            z1=1,
            zr=2,
            zo=4,
            lo=-100,
            hi=90,
        ),
    ]
    engine, bias, scale = engine_with(layers, seed=8)
    (found,) = engine.send(
        packet.join([packet.run(1), packet.command(packet.INPUT, 0, given_input(1, 1))])
    )
    value = plain(layers[2], engine, bias, scale)[0, 0]
    residual = engine.banks[BANK_A][0].astype(np.int64)
    expected = np.clip(np.rint((3 * (value - 1) + 5 * (residual - 2)) / 4) + 4, -100, 90)
    assert found.view(np.int8).tolist() == expected.tolist()


def test_streamed_weights_are_resident_weights() -> None:
    resident = send(two_layers(), 3)
    layers = two_layers(is_streamed=True)
    engine, _, _ = engine_with(layers, seed=7)
    block = engine.weights[2:4].copy()
    engine.weights[2:4] = 0
    parts = [packet.run(3)]
    for sample in range(3):
        parts.append(packet.command(packet.INPUT, 0, given_input(sample, 1)))
        parts.append(packet.command(packet.WSTREAM, 2, block))
    (found,) = engine.send(packet.join(parts))
    assert found.tolist() == resident.tolist()


def test_an_order_that_hangs_is_found() -> None:
    layers = two_layers(is_streamed=True)
    engine, _, _ = engine_with(layers, seed=7)
    blocks = [packet.command(packet.WSTREAM, 2, engine.weights[2:4].copy()) for _ in range(3)]
    inputs = [packet.command(packet.INPUT, 0, given_input(n, 1)) for n in range(3)]
    with pytest.raises(ProgramError, match="waits for ever"):
        engine.send(packet.join([packet.run(3), *blocks, *inputs]))


def test_a_layer_that_writes_over_what_it_has_still_to_read_is_refused() -> None:
    first, last = two_layers()
    moves = replace(last, dst=address(BANK_A, 4), is_last=False, oct=2, iw=2, ow=2, src_pixel=2)
    moves = replace(moves, dst_pixel=2, src_alt=0, in_flight=0)
    first = replace(first, iw=2, ow=2, dst_pixel=2, dst_alt=0)
    last = replace(last, src=address(BANK_A, 4), src_alt=0)
    assert send([first, moves, last], 1, words=2).size
    with pytest.raises(ProgramError, match="layer 1: its results go over words of its source"):
        send([first, replace(moves, dst=address(BANK_A, 2)), last], 1, words=2)


def test_who_reads_only_padding_cannot_release_x() -> None:
    first, last = two_layers()
    assert send([replace(first, pt=1, kh=2), last], 1).size
    with pytest.raises(ProgramError, match="layer 0: it releases X, and reads nothing but padding"):
        send([replace(first, pt=1, kh=1), last], 1)


def test_words_that_no_input_brings_are_waited_for_for_ever() -> None:
    first, last = two_layers()
    assert send([first, last], 2).size
    with pytest.raises(ProgramError, match="layer 0 waits for ever for word 1 of X"):
        send([replace(first, ict=2), last], 2)
    with pytest.raises(ProgramError, match="layer 0 reads another sample's half"):
        send([replace(first, src_alt=0), last], 2)


def test_streamed_weights_over_those_that_are_read_are_found() -> None:
    layers = two_layers(is_streamed=True)
    engine, _, _ = engine_with(layers, seed=7)
    same, other = engine.weights[2:4].copy(), engine.weights[4:6].copy()

    def run(*blocks: tuple[int, Array]) -> Array:
        parts = [packet.run(2)]
        for sample, (at, block) in enumerate(blocks):
            parts.append(packet.command(packet.INPUT, 0, given_input(sample, 1)))
            parts.append(packet.command(packet.WSTREAM, at, block))
        return engine.send(packet.join(parts))[0]

    assert run((2, same), (2, same)).size
    assert run((2, same), (4, other)).size  # elsewhere, though nobody reads it there
    with pytest.raises(ProgramError, match="layer 1 may read weights that the stream has written"):
        run((2, same), (2, other))
    with pytest.raises(ProgramError, match="layer 0 may read weights"):
        run((0, other), (0, other))


def test_blocks_that_nobody_uses_are_refused() -> None:
    engine, _, _ = engine_with(two_layers(), seed=7)
    block = packet.command(packet.WSTREAM, 2, engine.weights[2:4].copy())
    parts = [packet.run(1), packet.command(packet.INPUT, 0, given_input(0, 1)), block]
    with pytest.raises(ProgramError, match="1 blocks of weights that no layer uses"):
        engine.send(packet.join(parts))


def test_a_program_that_breaks_a_rule_does_not_run() -> None:
    first, last = two_layers()
    for broken in (
        [first, replace(last, src=address(BANK_OUT, 0))],
        [first, replace(last, has_residual=True, res=address(BANK_OUT, 0))],
        [first, replace(last, w_base=63)],
        [replace(first, releases_x=False), last],
    ):
        with pytest.raises(ProgramError):
            send(broken, 1)


def test_what_leaves_a_memory_is_refused() -> None:
    engine, _, _ = engine_with(two_layers(), seed=7)
    for op, at, size in [
        (packet.WEIGHT, 60, 64 * 5),
        (packet.PARAM, 30, 96),
        (packet.DESC, 7, 128),
    ]:
        with pytest.raises(ProgramError, match="up to"):
            engine.send(packet.command(op, at, np.zeros(size, np.int8)))
    with pytest.raises(ProgramError, match="an input up to word 33 of 32"):
        engine.send(
            packet.join([packet.run(1), packet.command(packet.INPUT, 0, given_input(1, 33))])
        )


def test_nothing_runs_before_a_program() -> None:
    with pytest.raises(ProgramError, match="before a whole program"):
        EmulatedEngine(SHAPE).send(packet.run(1))
