"""The contract in Python is the contract on paper: every value survives its bits."""

import contextlib
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.descriptor import _FIELDS, _RANGES, Descriptor, check_program, decode, encode
from fpga.isa.parameter import decode_parameters, encode_parameters, split_scale
from fpga.isa.shape import BANK_A, BANK_B, BANK_OUT, BANK_X, SMALL, EngineShape, address


def field(bits: int, name: str) -> st.SearchStrategy[int]:
    width = abs(bits)
    whole = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if bits < 0 else (0, (1 << width) - 1)
    return st.integers(*_RANGES.get(name, whole))


descriptors = st.builds(
    Descriptor,
    **{
        name: st.booleans() if bits == 1 else field(bits, name)
        for _word, _low, bits, name in _FIELDS
    },
)


@given(descriptors)
def test_a_descriptor_survives_its_bits(layer: Descriptor) -> None:
    assert decode(encode(layer)) == layer


def test_every_field_has_its_own_bits() -> None:
    assert {name for *_, name in _FIELDS} == set(asdict(Descriptor()))
    taken = [(word, bit) for word, low, bits, _ in _FIELDS for bit in range(low, low + abs(bits))]
    assert len(taken) == len(set(taken))
    assert all(bit < 32 for _, bit in taken)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stage", 16), ("kind", 3), ("kh", 0), ("ih", 1024), ("pad", 128), ("z1", -129), ("sh", 32)],
)
def test_a_value_out_of_its_range_is_named(name: str, value: int) -> None:
    with pytest.raises(ProgramError, match=f"{name} = {value}"):
        encode(replace(Descriptor(), **cast(dict[str, Any], {name: value})))


@given(st.floats(2.0**-40, 2.0**22, width=32), st.integers(-(2**31) + 1, 2**31 - 1))
def test_a_parameter_is_its_float32_exactly(scale: float, bias: int) -> None:
    found_bias, sig, shift = decode_parameters(encode_parameters([bias], [scale]))
    assert found_bias[0] == bias
    assert float(sig[0]) * 2.0 ** -float(shift[0]) == scale
    assert 1 << 23 <= sig[0] < 1 << 24


@pytest.mark.parametrize("scale", [-1.0, np.nan, np.inf, 2.0**-45, 2.0**24])
def test_a_scale_that_the_engine_cannot_have_is_refused(scale: float) -> None:
    with pytest.raises(ProgramError, match="scale"):
        split_scale([scale])


def test_a_packet_is_its_commands() -> None:
    layer = encode(Descriptor(is_last=True))
    beats = packet.join(
        [
            packet.command(packet.DESC, 3, layer),
            packet.run(2),
            packet.command(packet.INPUT, 0, np.arange(16, dtype=np.int8)),
        ]
    )
    first, second, third = packet.parse(beats, SMALL)
    assert (first.op, first.address, list(first.payload)) == (packet.DESC, 3, list(layer))
    assert (second.op, second.samples) == (packet.RUN, 2)
    assert third.payload.tobytes() == bytes(range(16))


@pytest.mark.parametrize(
    "beats",
    [
        [0],
        [packet.header(packet.RUN, 0, 0)],
        [packet.header(packet.INPUT, 0, 2), 1],
        [packet.header(packet.DESC, 0, 7), *range(7)],
        [packet.header(7, 0, 0)],
        [1 << 64 - 1],
    ],
)
def test_a_packet_that_the_loader_refuses_is_refused(beats: list[int]) -> None:
    with pytest.raises(ProgramError):
        packet.parse(np.array(beats, np.uint64), SMALL)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_any_beats_are_commands_or_refused(beats: list[int]) -> None:
    with contextlib.suppress(ProgramError):
        packet.parse(np.array(beats, np.uint64), SMALL)


FIRST = Descriptor(
    src=address(BANK_X, 0), dst=address(BANK_A, 0), releases_x=True, oct=2, ict=4, src_pixel=4
)
LAST = Descriptor(src=address(BANK_A, 0), dst=address(BANK_OUT, 0), ict=2, is_last=True)


def test_a_sound_program_passes() -> None:
    check_program([FIRST, LAST], SMALL)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dst": address(BANK_X, 0)}, "cannot go to X"),
        ({"src": address(BANK_OUT, 0)}, "cannot be the output"),
        ({"has_residual": True, "res": address(BANK_X, 0)}, "from A or B"),
        ({"w_base": 505}, "weights up to 513 of 512"),
        ({"p_base": 253}, "parameters up to 257 of 256"),
        ({"ih": 20, "src_row": 14}, "source up to word 270 of 256"),
        ({"dst": address(BANK_B, 255)}, "results up to word 257 of 256"),
        ({"releases_x": False}, "releases X"),
        ({"is_last": True}, "last"),
        ({"pt": 15}, "releases X, and reads nothing but padding"),
        ({"stage": 1, "releases_x": False}, "releases X"),
    ],
)
def test_a_program_that_leaves_the_engine_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProgramError, match=reason):
        check_program([replace(FIRST, **change), LAST], SMALL)


def test_a_layer_that_loses_what_it_has_to_read_is_refused() -> None:
    moves = Descriptor(
        src=address(BANK_A, 0), dst=address(BANK_A, 4), iw=2, ow=2, ict=2, oct=2, src_pixel=2,
        dst_pixel=2,
    )  # fmt: skip
    check_program([FIRST, moves, LAST], SMALL)
    with pytest.raises(ProgramError, match="layer 1: its results go over words of its source"):
        check_program([FIRST, replace(moves, dst=address(BANK_A, 2)), LAST], SMALL)
    added = replace(
        moves, src=address(BANK_B, 0), has_residual=True, res=address(BANK_A, 0), res_pixel=2
    )
    check_program([FIRST, replace(added, dst=address(BANK_A, 0)), LAST], SMALL)
    with pytest.raises(ProgramError, match="layer 1: its results go over words of its residual"):
        check_program([FIRST, replace(added, dst=address(BANK_A, 1)), LAST], SMALL)


def test_x_is_released_by_who_reads_it_last_and_not_by_who_stands_last() -> None:
    late = replace(FIRST, stage=1, releases_x=False, dst=address(BANK_B, 0))
    with pytest.raises(ProgramError, match="the last layer that reads X releases it"):
        check_program([late, FIRST, LAST], SMALL)
    check_program([replace(late, releases_x=True), replace(FIRST, releases_x=False), LAST], SMALL)


@pytest.mark.parametrize(
    "fields",
    [{"n": 9}, {"rq": 3}, {"rq": 0}, {"x_words": 7}, {"a_words": 1 << 15}, {"w_words": 0}],
)
def test_an_impossible_engine_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ProgramError):
        EngineShape(**fields)


def test_a_shape_survives_its_dictionary() -> None:
    assert EngineShape.from_dict(SMALL.as_dict()) == SMALL
    for wrong in ({}, {**SMALL.as_dict(), "m": 1}, {**SMALL.as_dict(), "n": "8"}):
        with pytest.raises(ProgramError, match="shape"):
            EngineShape.from_dict(wrong)
