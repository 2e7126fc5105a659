"""Where a bitstream comes from, and whether it is for this board and this engine."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from fpga.board import designs
from fpga.design import Given, check_fits, given, simulated
from fpga.driver import bitfile, handoff
from fpga.errors import BitstreamError, CapacityError
from fpga.isa.shape import LARGE, SMALL
from fpga.project import write
from tests.fpga.build.bitstreams import vivado_bit, vivado_hwh

BUILD = designs.build_hash(SMALL)


def files(folder: Path, bit: bytes | None = None, hwh: bytes | None = None) -> Given:
    (folder / "design.bit").write_bytes(vivado_bit() if bit is None else bit)
    (folder / "design.hwh").write_bytes(vivado_hwh() if hwh is None else hwh)
    return Given(folder / "design.bit", folder / "design.hwh", "vivado")


def test_a_simulation_says_what_it_is_and_no_real_board_takes_it() -> None:
    found = simulated(SMALL, "pynq-z2")
    assert found.described.provenance == "simulation"
    assert found.described.boards == ("Pynq-Z1", "Pynq-Z2")
    assert found.described.sha256 == hashlib.sha256(found.bit).hexdigest()
    assert found.build == BUILD
    assert "no real board" in found.remarks[0]
    with pytest.raises(BitstreamError, match="cannot run on a real board"):
        bitfile.check(found.bit, "Pynq-Z2", None, False, found.described.provenance)


def test_a_real_bitstream_is_taken_as_it_is_and_its_description_mended(tmp_path: Path) -> None:
    bit = vivado_bit(user_id=BUILD[:8].upper())
    found = given(files(tmp_path, bit), SMALL, "pynq-z1")
    assert found.bit == bit
    assert found.build == BUILD
    assert found.remarks == ()
    assert found.described.provenance == "vivado"
    assert found.described.part == "xc7z020clg400-1"
    assert handoff.FREQUENCY.encode() not in vivado_hwh()
    assert handoff.FREQUENCY.encode() in found.hwh
    bitfile.check(found.bit, "Pynq-Z2", None, False, "vivado")


def test_the_clock_is_what_the_description_says(tmp_path: Path) -> None:
    found = given(files(tmp_path, hwh=vivado_hwh(50.0)), SMALL, "pynq-z2")
    assert found.described.clock_mhz == 50.0


def test_a_bitstream_that_does_not_say_its_engine_is_taken_with_a_remark(tmp_path: Path) -> None:
    (remark,) = given(files(tmp_path), SMALL, "pynq-z2").remarks
    assert "seen on the board" in remark
    openxc7 = files(tmp_path, vivado_bit(part="xc7z020clg400-1"))
    found = given(replace(openxc7, provenance="openxc7"), SMALL, "pynq-z2")
    assert found.remarks == (remark,)
    bitfile.check(found.bit, "Pynq-Z2", None, False, "openxc7")


@pytest.mark.parametrize(
    ("bit", "words"),
    [
        (vivado_bit(part="7z010clg400"), "for a 7z010clg400, and pynq-z2 has a xc7z020clg400-1"),
        (vivado_bit(idcode=0x03722093), "IDCODE"),
        (vivado_bit(user_id="12345678"), "of the engine 12345678"),
        (vivado_bit(more="Inferry=simulation;"), "is a simulation"),
        (designs.simulated(SMALL).bit, "is a simulation"),
        (
            designs.simulated(SMALL).bit.replace(b"Inferry=simulation", b"Inferry=simulacrum"),
            "is a s",
        ),
        (vivado_bit()[:-4], "bytes of data"),
        (b"", "no .bit file"),
        (b"text that is no bitstream\n" * 9, "no .bit file"),
    ],
)
def test_a_bitstream_of_another_kind_is_refused(tmp_path: Path, bit: bytes, words: str) -> None:
    with pytest.raises(BitstreamError, match=words) as refusal:
        given(files(tmp_path, bit), SMALL, "pynq-z2")
    assert str(tmp_path) not in str(refusal.value)


BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cccccccccc">]><EDKSYSTEM>&b;</EDKSYSTEM>'


@pytest.mark.parametrize(
    ("hwh", "words"),
    [
        (b"", "design.hwh"),
        (b"{}", "not XML"),
        (BOMB, "document type"),
        (b"<EDKSYSTEM/>", "processing system"),
        (vivado_hwh(part="xc7z010clg400-1"), "is for '7z010clg400'"),
        (vivado_hwh().replace(b"0x43C00000", b"0x43D00000"), "nothing at 0x43c00000"),
        (vivado_hwh().replace(b'VALUE="100.000000"', b'VALUE="fast"'), "frequency"),
        (vivado_hwh().replace(b'VALUE="100.000000"', b'VALUE="1e9"'), "clock is '1"),
        (vivado_hwh().replace(b'VALUE="100.000000"', b'VALUE="nan"'), "clock is 'nan'"),
    ],
)
def test_a_description_of_something_else_is_refused(tmp_path: Path, hwh: bytes, words: str) -> None:
    with pytest.raises(BitstreamError, match=words):
        given(files(tmp_path, hwh=hwh), SMALL, "pynq-z2")


def test_missing_files_and_unknown_tools_are_refused(tmp_path: Path) -> None:
    known = files(tmp_path)
    with pytest.raises(BitstreamError, match="vivado or openxc7"):
        given(replace(known, provenance="simulation"), SMALL, "pynq-z2")
    with pytest.raises(BitstreamError, match="there are arty"):
        given(known, SMALL, "zcu104")
    for name in ("bit", "hwh"):
        missing: dict[str, Any] = {name: tmp_path / "none"}
        endless: dict[str, Any] = {name: Path("/dev/zero")}
        with pytest.raises(BitstreamError, match="'none' cannot be read"):
            given(replace(known, **missing), SMALL, "pynq-z2")
        with pytest.raises(BitstreamError, match="no plain file"):
            given(replace(known, **endless), SMALL, "pynq-z2")


@drawn(at=st.integers(0, 400), bit=st.integers(0, 7))
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    data = bytearray(vivado_bit(user_id=BUILD[:8]))
    data[at] ^= 1 << bit
    try:
        found = given(files(tmp_path_factory.getbasetemp(), bytes(data)), SMALL, "pynq-z2")
    except BitstreamError:
        return
    assert found.described.part == "xc7z020clg400-1"


def test_an_engine_that_has_no_room_on_the_part_is_refused() -> None:
    check_fits(LARGE, "pynq-z2")
    check_fits(SMALL, "arty-z7-10")
    for shape, board in ((LARGE, "arty-z7-10"), (replace(LARGE, n=32, rq=8), "pynq-z2")):
        with pytest.raises(CapacityError, match="DSP blocks"):
            check_fits(shape, board)
        assert "DSP blocks" in simulated(shape, board).remarks[1]


def test_the_project_has_vivado_write_the_engine_into_the_bitstream(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    assert f"BITSTREAM.CONFIG.USERID 0x{BUILD[:8].upper()} " in (tmp_path / "build.xdc").read_text()
    assert "build.xdc" in (tmp_path / "build.tcl").read_text()
    assert "USERID" not in (tmp_path / "leds.xdc").read_text()  # openXC7 reads it
