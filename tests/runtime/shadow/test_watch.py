"""What is seen in the bytes of a connection, however they come."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.shadow.room import Room
from runtime.shadow.watch import MOST_COPY_BYTES
from tests.runtime.shadow.watched import Seen, answer, request

CHUNKED = (
    b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nInferry-Copy: r2,r3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\nTrailer: t\r\n\r\n"
)


def test_a_request_with_its_answer_is_an_exchange() -> None:
    seen = Seen()
    watch = seen.watch()
    watch.request(request(b"[1, 2]", shadows=" r2 ,r3", more="X-Own: a\r\nX-Own: b\r\n"))
    was_busy = watch.is_busy
    seen.clock_s += 0.25
    watch.answer(answer(b"[3]", more="X-Said: c\r\n"))
    assert (was_busy, watch.is_busy) == (True, False)
    (found,) = seen.exchanges
    assert found.shadows == ("r2", "r3")
    assert (found.target, found.body) == (b"/score?a=b", b"[1, 2]")
    assert found.headers == [
        (b"Host", b"x"),
        (b"X-Own", b"a"),
        (b"X-Own", b"b"),
        (b"Content-Length", b"6"),
    ]
    assert (found.answer.status, found.answer.body, found.answer.seconds) == (200, b"[3]", 0.25)
    assert found.answer.header(b"x-said") == b"c"
    assert (seen.room.copies, seen.room.bytes) == (1, seen.sizes[0])
    seen.room.ends(seen.sizes[0])
    assert (seen.room.copies, seen.room.bytes) == (0, 0)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40))
def test_it_does_not_matter_in_which_pieces_they_come(ask_size: int, answer_size: int) -> None:
    seen = Seen()
    watch = seen.watch()
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    for _ in range(2):
        for at in range(0, len(CHUNKED), ask_size):
            watch.request(CHUNKED[at : at + ask_size])
        for at in range(0, len(said), answer_size):
            watch.answer(said[at : at + answer_size])
    assert [(one.body, one.answer.body) for one in seen.exchanges] == [(b"abcdefg", b"abc")] * 2
    assert seen.exchanges[0].shadows == ("r2", "r3")
    assert not watch.is_blind


def test_an_interim_answer_is_not_the_answer() -> None:
    seen = Seen()
    watch = seen.watch()
    head, _, body = request(more="Expect: 100-continue\r\n").rpartition(b"[1]")
    watch.request(head)
    watch.answer(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n")
    watch.request(b"[1]" + body)
    watch.answer(answer())
    assert [one.answer.status for one in seen.exchanges] == [200]
    assert seen.exchanges[0].answer.header(b"x") is None


def test_what_is_for_no_shadow_is_passed_over() -> None:
    seen = Seen()
    watch = seen.watch()
    watch.request(request(shadows=""))
    watch.answer(answer())
    watch.request(request())
    watch.answer(answer())
    assert len(seen.exchanges) == 1
    assert seen.drops == []


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_what_the_primary_refuses_is_not_copied(status: str) -> None:
    seen = Seen()
    watch = seen.watch()
    watch.request(request(shadows="r2,r3"))
    watch.answer(answer(status=status))
    assert seen.exchanges == []
    assert seen.drops == [("r2", "primary"), ("r3", "primary")]
    assert (seen.room.copies, seen.room.bytes) == (0, 0)


@pytest.mark.parametrize(
    "asked",
    [
        request(method="HEAD"),
        request(method="GET"),
        request() + request(),  # before the answer to the first
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"POST /score HTTP/9.9\r\n\r\n",
        request(more="Content-Length: 4\r\n"),
        request(more="Transfer-Encoding: chunked\r\n"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        CHUNKED.replace(b"4\r\nabcd", b"zz\r\nabcd"),
        b"POST /score HTTP/1.1\r\nno header\r\n\r\n",
        request(more="Upgrade: websocket\r\nConnection: upgrade\r\n", method="GET"),
    ],
)
def test_it_looks_away_from_what_it_does_not_understand(asked: bytes) -> None:
    seen = Seen()
    watch = seen.watch()
    watch.request(asked)
    watch.answer(answer())
    assert watch.is_blind
    watch.request(request())
    watch.answer(answer())
    assert seen.exchanges == []
    assert (seen.room.copies, seen.room.bytes) == (0, 0)


@pytest.mark.parametrize(
    "said",
    [
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        answer(more="Content-Length: 9\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_an_answer_that_is_none_ends_the_looking(said: bytes) -> None:
    seen = Seen()
    watch = seen.watch()
    watch.request(request())
    watch.answer(said)
    watch.end()
    assert watch.is_blind
    assert seen.exchanges == []
    assert seen.drops == [("r2", "broken")]
    assert (seen.room.copies, seen.room.bytes) == (0, 0)


def test_an_answer_without_a_request_is_not_understood() -> None:
    seen = Seen()
    watch = seen.watch()
    watch.answer(answer(status="408 Request Timeout"))
    assert watch.is_blind


def test_an_answer_before_the_end_of_its_request_is_not_compared() -> None:
    seen = Seen()
    watch = seen.watch()
    watch.request(request(b"x" * 100)[:-50])
    watch.answer(answer(status="413 Content Too Large"))
    assert seen.drops == [("r2", "broken")]
    assert (seen.room.copies, seen.room.bytes) == (0, 0)


def test_a_client_that_goes_away_leaves_nothing() -> None:
    seen = Seen()
    watch = seen.watch()
    watch.request(request(b"x" * 100))
    assert seen.room.copies == 1
    watch.end()
    watch.end()
    assert seen.drops == [("r2", "broken")]
    assert (seen.room.copies, seen.room.bytes) == (0, 0)


def test_what_does_not_fit_is_dropped_once_and_the_next_is_taken() -> None:
    seen = Seen(Room(2000, 10))
    watch = seen.watch()
    for size in (5000, 10):
        watch.request(request(b"x" * size))
        watch.answer(answer(b"y" * 100))
    watch.request(request(b"x"))
    watch.answer(answer(b"y" * 5000))
    assert seen.drops == [("r2", "full")] * 2
    assert [len(one.body) for one in seen.exchanges] == [10]
    assert seen.room.bytes == seen.sizes[0]


def test_too_many_at_a_time_are_dropped() -> None:
    seen = Seen(Room(1 << 20, 2))
    for watch in [seen.watch() for _ in range(3)]:
        watch.request(request())
    assert seen.drops == [("r2", "full")]
    assert seen.room.copies == 2


def test_a_huge_request_is_not_kept_while_it_passes() -> None:
    seen = Seen(Room(1 << 30, 10))
    watch = seen.watch()
    size, piece = MOST_COPY_BYTES + 1, b"x" * (1 << 20)
    watch.request(request(b"x" * size)[:-size])
    for _ in range(size // len(piece)):
        watch.request(piece)
        assert seen.room.bytes <= MOST_COPY_BYTES
    watch.request(b"x")
    assert seen.drops == [("r2", "large")]
    assert seen.room.bytes == 0
    watch.answer(answer())
    assert not watch.is_busy
    assert seen.exchanges == []


def test_many_headers_count_too() -> None:
    seen = Seen(Room(10_000, 10))
    watch = seen.watch()
    watch.request(request(more="".join(f"X-{at}: {at}\r\n" for at in range(200))))
    assert seen.drops == [("r2", "full")]
    assert seen.room.bytes == 0
