"""Bitstreams: valid for their part, read back, and refused when they are anything else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga.board import bitstream, designs
from fpga.driver import bitfile, handoff
from fpga.driver.parts import idcode_of, kind_of
from fpga.errors import BitstreamError
from fpga.isa.shape import LARGE, SMALL

DESIGN = bitstream.SimulatedDesign(SMALL, "0123456789abcdef" * 2)
BIT = bitstream.make(DESIGN, "xc7z020clg400-1", 0x03727093, "x")


def test_a_simulated_bitstream_says_what_it_is() -> None:
    header = bitfile.read_bit(BIT)
    packets = bitfile.read_packets(header.data)
    assert header.part == "7z020clg400"
    assert packets.idcode == 0x03727093
    assert bitstream.simulated(packets.frames) == DESIGN


def test_two_designs_have_two_builds_and_one_has_one() -> None:
    assert designs.build_hash(SMALL) == designs.build_hash(SMALL)
    assert designs.build_hash(SMALL) != designs.build_hash(LARGE)
    assert designs.simulated(SMALL).bit == designs.simulated(SMALL).bit


def test_bin_is_bit_with_words_turned_round() -> None:
    data = bitfile.read_bit(BIT).data
    turned = bitstream.to_bin(data)
    assert struct.pack("<I", bitfile.SYNC) in turned
    assert bitstream.to_bin(turned) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (BIT[:40], "cut short|missing|bytes of data"),
        (BIT[:-4], "bytes of data"),
        (BIT + b"\0", "bytes of data"),
        (b"\x7fELF" + BIT, "missing|cut short"),
    ],
)
def test_a_file_that_is_no_bit_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BitstreamError, match=reason):
        bitfile.read_bit(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_bitstream_or_refused(data: bytes) -> None:
    for read in (bitfile.read_bit, bitfile.read_packets):
        try:
            read(data)
        except BitstreamError:
            continue


def test_frames_that_lie_about_themselves_are_refused() -> None:
    assert bitstream.simulated(b"\x12\x34" * 50) is None
    for wrong in (b"{", b"[]", b'{"build": "x", "shape": {}}', b'{"build": 7}', b"[" * 5000):
        with pytest.raises(BitstreamError):
            bitstream.simulated(bitstream.MAGIC + wrong)


def test_parts_and_boards_have_names() -> None:
    assert idcode_of("xc7z020clg484-1") == kind_of("PYNQ-Z1").idcode
    with pytest.raises(BitstreamError, match="there are"):
        kind_of("pynq-z9")
    with pytest.raises(BitstreamError, match="no part"):
        idcode_of("xc7a35t")


def test_a_vivado_description_gets_what_pynq_misses_once() -> None:
    mine = designs.simulated(SMALL).hwh
    assert handoff.mended(mine) == mine
    without = mine.replace(handoff.FREQUENCY.encode(), b"SOMETHING_ELSE")
    mended = handoff.mended(without, 50.0)
    assert handoff.FREQUENCY.encode() in mended
    assert b"50.000000" in mended
    assert handoff.mended(mended) == mended
    with pytest.raises(BitstreamError, match="not XML"):
        handoff.mended(b"<EDKSYSTEM")
