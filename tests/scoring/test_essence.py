"""What stands for a long body in the flight recorder and the quarantine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scoring.quarantine import PIECE_BYTES, PIECES, essence

LONG = PIECES * PIECE_BYTES


@given(st.binary(max_size=300))
def test_a_short_body_stands_for_itself(body: bytes) -> None:
    assert essence(body) == body


def test_a_long_body_is_bounded_and_every_region_of_it_counts() -> None:
    body = bytes(200_000)
    assert len(essence(body)) <= LONG + 2 * PIECE_BYTES + 8
    assert essence(body) != essence(body + b"\0"), "its length counts"
    for at in (0, 100_000, 199_999):
        changed = bytearray(body)
        changed[max(0, at - 4000) : at + 4000] = b"x" * len(changed[max(0, at - 4000) : at + 4000])
        assert essence(bytes(changed)) != essence(body)
