"""Descriptions of designs: what pynq cannot read is mended, what is another's is refused."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga.board import hwh
from fpga.driver import handoff
from fpga.errors import BitstreamError

MINE = hwh.make("xc7z020clg400-1")


def test_what_is_whole_stays_as_it_is() -> None:
    assert handoff.mended(MINE) == MINE
    handoff.check(MINE)


def test_a_frequency_that_is_missing_is_what_vivado_says_elsewhere() -> None:
    said = b'<PARAMETER NAME="PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ" VALUE="76.923080"/>'
    without = MINE.replace(handoff.FREQUENCY.encode(), b"OTHER")
    without = without.replace(b"<PARAMETERS>", b"<PARAMETERS>" + said, 1)
    made = handoff.mended(without)
    assert f'NAME="{handoff.FREQUENCY}" VALUE="76.923080"'.encode() in made
    assert handoff.mended(made) == made
    broken = without.replace(b"76.923080", b"fast")
    with pytest.raises(BitstreamError, match="no frequency"):
        handoff.mended(broken)


def test_the_processing_system_is_marked_for_older_parsers() -> None:
    mark = b'IS_PL="FALSE" MODTYPE="processing_system7"'
    assert MINE.count(mark) == 1
    without = MINE.replace(mark, b'MODTYPE="processing_system7"')
    (system,) = (
        module
        for module in ElementTree.fromstring(handoff.mended(without)).iter("MODULE")
        if module.get("MODTYPE") == "processing_system7"
    )
    assert system.get("IS_PL") == "FALSE"


def test_external_ports_that_are_missing_are_none() -> None:
    without = MINE.replace(b"<EXTERNALPORTS/>", b"")
    root = ElementTree.fromstring(handoff.mended(without))
    assert root.find("EXTERNALPORTS") is not None


@pytest.mark.parametrize(
    ("said", "made"),
    [
        ("xilinx.com:ip:axi_gpio:2", "xilinx.com:ip:axi_gpio:2.0"),
        ("xilinx.com:ip:axi_gpio", "xilinx.com:ip:axi_gpio:1.0"),
        ("xilinx.com:ip:axi_gpio:v2", "xilinx.com:ip:axi_gpio:1.0"),
        ("", ":unknown:unknown:1.0"),
    ],
)
def test_versions_that_pynq_cannot_read_get_a_point(said: str, made: str) -> None:
    found = MINE.replace(b"xilinx.com:ip:axi_gpio:2.0", said.encode())
    root = ElementTree.fromstring(handoff.mended(found))
    names = {module.get("INSTANCE"): module.get("VLNV") for module in root.iter("MODULE")}
    assert names["leds_gpio"] == made
    assert names["axi_dma_0"] == "xilinx.com:ip:axi_dma:7.1"


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"<EDKSYSTEM",
        b"<OTHER/>",
        b"\xff\xfe<EDKSYSTEM/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><EDKSYSTEM/>',
        b"<EDKSYSTEM>" + b" " * handoff.MOST_BYTES + b"</EDKSYSTEM>",
    ],
)
def test_what_is_no_description_is_refused(wrong: bytes) -> None:
    for act in (handoff.mended, handoff.check):
        with pytest.raises(BitstreamError, match="hwh"):
            act(wrong)


@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(BitstreamError):
        handoff.check(noise)


def test_another_designs_description_is_refused_by_its_addresses() -> None:
    for address in (b"0x43C00000", b"0x40400000"):
        with pytest.raises(BitstreamError, match="another design"):
            handoff.check(MINE.replace(address, b"nothing"))
    with pytest.raises(BitstreamError, match="no processing system"):
        handoff.check(b"<EDKSYSTEM/>")
