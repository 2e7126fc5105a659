"""The frames between server and worker, whole and in pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.script import frames
from scoring.script.frame_reader import FrameReader

texts = st.text(max_size=20)
headers = st.lists(st.tuples(texts, texts), max_size=5)
requests = st.builds(frames.ScoreRequest, texts, texts, texts, headers)
messages = st.one_of(
    requests,
    st.builds(frames.ScoreBatch, st.lists(requests, max_size=3), st.lists(st.integers(0, 9))),
    st.builds(frames.Reply, st.integers(100, 999), headers, st.none() | st.floats(0, 9)),
    st.builds(frames.StreamHead, st.integers(100, 999), headers),
    st.builds(frames.StreamEnd, st.booleans()),
    st.sampled_from([frames.StreamChunk(), frames.Progress(), frames.Proving()]),
    st.builds(frames.Ready, texts, st.integers(1, 9), st.just({"2": {"é": 1}}), st.just(["2"])),
    st.builds(frames.LoadFailed, texts, texts),
)
whole = st.tuples(messages, st.binary(max_size=200), st.integers(0, frames.MAX_TICKET))


@given(messages, st.binary(max_size=200), st.integers(0, frames.MAX_TICKET))
def test_a_frame_comes_back_whole(message: frames.Message, body: bytes, ticket: int) -> None:
    data = frames.encode(message, body, ticket)
    header_bytes, body_bytes, got_ticket = frames.sizes(data)
    rest = data[frames.PREFIX.size :]
    assert frames.decode_header(rest[:header_bytes]) == message
    assert rest[header_bytes:] == body
    assert (body_bytes, got_ticket) == (len(body), ticket)


@given(st.lists(whole, max_size=4), st.data())
def test_frames_are_read_in_pieces_of_any_size(
    sent: list[tuple[frames.Message, bytes, int]], data: st.DataObject
) -> None:
    stream = b"".join(frames.encode(*frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader()
    got = [
        frame
        for start, end in pairwise([0, *cuts, len(stream)])
        for frame in reader.feed(stream[start:end])
    ]
    assert got == sent
    assert reader.is_empty


@given(whole, st.data())
def test_a_reader_says_that_a_part_waits(
    sent: tuple[frames.Message, bytes, int], data: st.DataObject
) -> None:
    stream = frames.encode(*sent)
    cut = data.draw(st.integers(1, len(stream) - 1))
    reader = FrameReader()
    assert reader.feed(stream[:cut]) == []
    assert not reader.is_empty


@given(st.binary(max_size=100))
def test_bytes_that_are_no_header_are_refused(data: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.decode_header(data)


def test_an_absurd_length_is_refused() -> None:
    with pytest.raises(frames.FrameError, match="frame header of"):
        FrameReader().feed(frames.PREFIX.pack(2**31, 0, 0))
