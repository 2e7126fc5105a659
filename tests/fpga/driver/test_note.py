"""What was downloaded last is believed only where everything agrees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga.driver.note import Note, Seen, decode, encode, loaded

NOTE = Note("inferry_12", "boot-1", "records-1")
BY_FIRMWARE = Seen("boot-1", "operating", "inferry_12.bin", None)
BY_RECORDS = Seen("boot-1", "operating", None, "records-1")


def test_a_note_is_read_back() -> None:
    assert decode(encode(NOTE)) == NOTE


@given(st.binary(max_size=200) | st.sampled_from([b"[]", b"null", b'{"name":1}', b"[" * 4000]))
def test_anything_else_is_no_note(data: bytes) -> None:
    assert decode(data) is None


def test_a_note_of_wrong_types_is_none() -> None:
    assert decode(b'{"name": "a", "boot": null, "records": "c"}') is None
    assert decode(encode(NOTE) + b" " * 5000) is None


@pytest.mark.parametrize("seen", [BY_FIRMWARE, BY_RECORDS])
def test_what_agrees_is_loaded(seen: Seen) -> None:
    assert loaded(NOTE, seen) == "inferry_12"


@pytest.mark.parametrize(
    "seen",
    [
        replace(BY_FIRMWARE, boot="boot-2"),
        replace(BY_FIRMWARE, boot=None),
        replace(BY_FIRMWARE, boot=""),
        replace(BY_FIRMWARE, state="write error"),
        replace(BY_FIRMWARE, state=None),
        replace(BY_FIRMWARE, firmware="base.bin"),
        replace(BY_FIRMWARE, firmware="inferry_12"),
        replace(BY_RECORDS, records="records-2"),
        replace(BY_RECORDS, records=None),
    ],
)
def test_what_does_not_is_downloaded_again(seen: Seen) -> None:
    assert loaded(NOTE, seen) is None
    assert loaded(None, seen) is None


def test_what_the_manager_says_counts_more_than_pynqs_records() -> None:
    assert loaded(NOTE, replace(BY_RECORDS, firmware="base.bin")) is None
