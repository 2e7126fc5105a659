"""The frames between server and worker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring import frames

texts = st.text(max_size=20)
headers = st.lists(st.tuples(texts, texts), max_size=5)


@given(texts, texts, texts, headers, st.binary(max_size=200))
def test_a_frame_comes_back_whole(
    method: str, path: str, query: str, header_list: frames.Headers, body: bytes
) -> None:
    message = frames.ScoreRequest(method, path, query, header_list)
    data = frames.encode(message, body)
    header_bytes, body_bytes = frames.sizes(data[: frames.PREFIX.size])
    rest = data[frames.PREFIX.size :]
    assert frames.decode_header(rest[:header_bytes]) == message
    assert rest[header_bytes:] == body
    assert body_bytes == len(body)


@given(st.binary(max_size=100))
def test_bytes_that_are_no_header_are_refused(data: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.decode_header(data)


def test_an_absurd_length_is_refused() -> None:
    with pytest.raises(frames.FrameError, match="frame header of"):
        frames.sizes(frames.PREFIX.pack(2**31, 0))
