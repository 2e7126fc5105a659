"""Frames over a socket, from friends and enemies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpga import errors
from fpga.serving import frames
from fpga.serving.frames import Counts, FrameError

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_is_sent_in_parts_comes_as_one_frame(pair: Pair) -> None:
    beats = np.arange(30000, dtype="<u8")
    counts = Counts(1, 2, 3, 4, 5)
    thread = threading.Thread(
        target=frames.send, args=(pair[0], frames.ANSWER, 7, counts.encode(), beats)
    )
    thread.start()
    frame = frames.receive(pair[1], 1 << 20)
    thread.join()
    assert frame is not None
    assert (frame.kind, frame.number) == (frames.ANSWER, 7)
    assert Counts(*frames.COUNTS.unpack_from(frame.body)) == counts
    assert (np.frombuffer(frame.body, "<u8", offset=frames.COUNTS.size) == beats).all()


def test_the_end_of_all_is_no_frame(pair: Pair) -> None:
    pair[0].close()
    assert frames.receive(pair[1], 10) is None


def _head(magic: int = frames.MAGIC, kind: int = frames.RUN, size: int = 0) -> bytes:
    return frames.HEADER.pack(magic, kind, 1, size)


@pytest.mark.parametrize(
    "sent",
    [
        b"x",
        b"Traceback (most recent call last):",
        _head(magic=1),
        _head(kind=0),
        _head(kind=6),
        _head(size=1 << 60),
        _head(size=101) + bytes(101),
        _head(kind=frames.READY, size=frames.MOST_JSON_BYTES + 1),
        _head(size=100) + bytes(99),
        _head()[:5] + b"\1" + _head()[6:],
    ],
)
def test_nonsense_is_refused_before_it_takes_memory(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    pair[0].close()
    with pytest.raises(FrameError):
        frames.receive(pair[1], 100)


@pytest.mark.parametrize("sent", [b"", _head()[:10], _head(size=8) + b"half"])
def test_one_that_does_not_come_in_time_is_not_waited_for(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        frames.receive(pair[1], 100, began + 0.05)
    assert time.monotonic() - began < 10


def test_a_deadline_that_has_passed_is_no_endless_wait(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        frames.receive(pair[1], 100, time.monotonic() - 1)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_bytes_of_any_kind_do_no_harm(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(sent)
        ours.close()
        try:
            frame = frames.receive(theirs, 100)
            assert frame is None or len(frame.body) <= frames.MOST_JSON_BYTES
        except FrameError:
            pass


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 5000, b"{}{}"]
)
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        frames.document_of(frames.Frame(frames.READY, 0, bytearray(body)))


def test_errors_keep_their_class() -> None:
    for error in (errors.BusyError("b"), errors.BitstreamError("c"), errors.ToolError("d")):
        found = frames.error_of(frames.error_fields(error))
        assert (type(found), str(found)) == (type(error), str(error))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"error": "SystemExit", "message": "x"},
        {"error": "annotations", "message": []},
        {"error": ["BusyError"], "message": {}},
        {"error": "__builtins__"},
        {"error": None, "message": "two\nlines " + "x" * 5000},
    ],
)
def test_errors_of_an_enemy_are_errors_of_one_line(document: dict[str, Any]) -> None:
    found = frames.error_of(document)
    assert isinstance(found, errors.FpgaError)
    assert "\n" not in str(found)
    assert len(str(found)) <= frames.MOST_TEXT


def test_what_is_not_installed_is_named() -> None:
    said = frames.error_fields(ModuleNotFoundError("No module named 'pynq'", name="pynq"))
    assert said["message"] == "pynq is not installed in the Python that drives the board"
    assert "internal error: KeyError" in frames.error_fields(KeyError("x"))["message"]
