"""What is no HTTP, or HTTP that two servers would read differently: one refusal, then the door.

Whatever follows a refused request on its connection is never read as a request (request smuggling):
each case below has such a follower, and its answer would show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.system.hostile_server import Running, serve_model
from tests.system.http_oracle import End, check_answers, hear, is_refusal
from tests.system.http_requests import CLOSING, Stream, scoring_body, scoring_request, streams
from tests.system.raw_http import Peer, Reply, check_clean, check_error

pytestmark = pytest.mark.slow

MARKER = scoring_request(777)
MARK = b"1554"
SCORE = b"POST /score HTTP/1.1\r\nHost: test\r\n"
NOPE = b"POST /nope HTTP/1.1\r\nHost: test\r\n"
ROUTES = pytest.mark.parametrize("start", [SCORE, NOPE], ids=["fast", "asgi"])
REFUSALS = (400, 411, 413, 414, 415, 417, 431, 501, 505)
BODY = scoring_body(1)
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_model(tmp_path_factory.mktemp("model")) as running:
        yield running
        text = running.log.read_text("utf-8", "replace")
        assert "Traceback" not in text, text[-3000:]


def check_refused(server: Running, sent: bytes) -> Reply:
    """One refusal, the end, and nothing of what follows."""
    with Peer.open(server.port) as peer:
        peer.send(sent + MARKER + CLOSING)
        replies = peer.replies_to_end()
    assert len(replies) == 1, replies
    check_error(replies[0], *REFUSALS)
    assert replies[0].is_last
    return replies[0]


def check_healthy(server: Running) -> None:
    """A new connection is answered."""
    with Peer.open(server.port) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert peer.reply().status == 200


CHUNKED_BODY = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
TWO_WAYS = b"Content-Length: %d\r\n" % len(CHUNKED_BODY)
AMBIGUOUS = {
    "length, chunks": TWO_WAYS + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY,
    "chunks, length": b"Transfer-Encoding: chunked\r\n" + TWO_WAYS + b"\r\n" + CHUNKED_BODY,
    "length 0, chunks": b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY,
    "length, identity": LENGTH + b"Transfer-Encoding: identity\r\n\r\n" + BODY,
    "length, unknown": LENGTH + b"Transfer-Encoding: xchunked\r\n\r\n" + BODY,
    "identity": b"Transfer-Encoding: identity\r\n\r\n",
    "gzip": b"Transfer-Encoding: gzip\r\n\r\n" + CHUNKED_BODY,
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED_BODY,
    "chunked, gzip": b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKED_BODY,
    "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKED_BODY,
    "identity, chunked": b"Transfer-Encoding: identity, chunked\r\n\r\n" + CHUNKED_BODY,
    "chunked, chunked": b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKED_BODY,
    "chunked twice": b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + CHUNKED_BODY,
    "chunked, then identity": (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + CHUNKED_BODY
    ),
    "identity, then chunked": (
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY
    ),
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED_BODY,
    "vertical tab after": b"Transfer-Encoding: chunked\x0b\r\n\r\n" + CHUNKED_BODY,
    "quoted": b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKED_BODY,
    "parameter": b"Transfer-Encoding: chunked;q=1\r\n\r\n" + CHUNKED_BODY,
    "chunke": b"Transfer-Encoding: chunke\r\n\r\n" + CHUNKED_BODY,
    "no-break space": b"Transfer-Encoding: chunked\xa0\r\n\r\n" + CHUNKED_BODY,
    "empty coding": b"Transfer-Encoding:\r\n\r\n" + CHUNKED_BODY,
    "space before colon": b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED_BODY,
    "tab before colon": b"Content-Length\t: 5\r\n\r\n12345",
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED_BODY,
    "folded length": b"Content-Length:\r\n 5\r\n\r\n12345",
    "space in name": b"Content Length: 5\r\n\r\n12345",
    "line feed before coding": b"X: y\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY,
    "line feeds": b"Content-Length: 5\n\n12345",
    "carriage return in value": b"X: y\rTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY,
    "nul in value": b"X: \x00\r\n" + LENGTH + b"\r\n" + BODY,
    "nul in name": b"X\x00Y: z\r\n" + LENGTH + b"\r\n" + BODY,
    "nul in length": b"Content-Length: 5\x00\r\n\r\n12345",
    "no colon": b"Content-Length 5\r\n\r\n12345",
    "no name": b": 5\r\n\r\n12345",
    "first line folded": b" X: y\r\n" + LENGTH + b"\r\n" + BODY,
    "other name": b"Content-Length\xff: 5\r\n\r\n12345",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
    "list of lengths": b"Content-Length: 5, 6\r\n\r\n123456",
    "plus": b"Content-Length: +5\r\n\r\n12345",
    "minus": b"Content-Length: -5\r\n\r\n12345",
    "minus zero": b"Content-Length: -0\r\n\r\n",
    "hexadecimal": b"Content-Length: 0x5\r\n\r\n12345",
    "hexadecimal digit": b"Content-Length: a\r\n\r\n1234567890",
    "space in length": b"Content-Length: 1 2\r\n\r\n123456789012",
    "underscore": b"Content-Length: 1_0\r\n\r\n1234567890",
    "exponent": b"Content-Length: 1e1\r\n\r\n1234567890",
    "fraction": b"Content-Length: 5.0\r\n\r\n12345",
    "arabic digits": "Content-Length: \u0665\r\n\r\n12345".encode(),
    "superscript": b"Content-Length: \xb2\r\n\r\n12",
    "empty length": b"Content-Length:\r\n\r\n12345",
    "length over 64 bits": b"Content-Length: 18446744073709551621\r\n\r\n12345",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
@ROUTES
def test_doubtful_framing_is_refused(server: Running, start: bytes, name: str) -> None:
    check_refused(server, start + AMBIGUOUS[name])


CHUNKS = {
    "no number": b"zz\r\n12345\r\n",
    "no size": b"\r\n12345\r\n",
    "minus": b"-5\r\n12345\r\n",
    "plus": b"+5\r\n12345\r\n",
    "prefix": b"0x5\r\n12345\r\n",
    "space before": b" 5\r\n12345\r\n",
    "space after": b"5 \r\n12345\r\n",
    "space inside": b"1 0\r\n1234567890123456\r\n",
    "over 64 bits": b"10000000000000005\r\n12345\r\n",
    "far over 64 bits": b"f" * 40 + b"\r\n12345\r\n",
    "line feed": b"5\n12345\r\n",
    "line feed after data": b"5\r\n12345\n0\r\n\r\n",
    "carriage return": b"5\r12345\r\n",
    "no end of line": b"5\r\n12345" + b"0\r\n\r\n",
    "more than said": b"5\r\n123456789\r\n0\r\n\r\n",
    "line feed in extension": b"5;a\nb\r\n12345\r\n0\r\n\r\n",
    "carriage return in extension": b"5;a\rb\r\n12345\r\n0\r\n\r\n",
    "nul in extension": b"5;a\x00b\r\n12345\r\n0\r\n\r\n",
    "bad trailer": b"5\r\n12345\r\n0\r\nno colon\r\n\r\n",
    "nul in trailer": b"5\r\n12345\r\n0\r\nX: \x00\r\n\r\n",
    "line feed in trailer": b"5\r\n12345\r\n0\r\nX: y\nZ: a\r\n\r\n",
    "line feed at end": b"5\r\n12345\r\n0\r\n\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_doubtful_chunks_are_refused(server: Running, name: str) -> None:
    check_refused(server, SCORE + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[name])


@pytest.mark.parametrize("name", CHUNKS)
def test_doubtful_chunks_end_a_route_that_reads_no_body(server: Running, name: str) -> None:
    """It may have answered before the bad chunk came; nothing of what follows is a request."""
    sent = NOPE + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[name] + MARKER + CLOSING
    with Peer.open(server.port) as peer:
        peer.send(sent)
        replies = peer.replies_to_end()
    assert 1 <= len(replies) <= 2
    for reply in replies:
        check_error(reply, 400, 404)
        assert MARK not in reply.body


@ROUTES
def test_bytes_after_the_last_chunk_are_the_next_request(server: Running, start: bytes) -> None:
    """And not a part of this one: here they are none."""
    with Peer.open(server.port) as peer:
        peer.send(start + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED_BODY + b"junk\r\n\r\n")
        peer.send(MARKER + CLOSING)
        first, second = peer.replies_to_end()
    assert first.status in (200, 404)
    check_error(second, 400)


LINES = {
    "no version": b"GET /\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: test\r\n\r\n",
    "no method": b"/ HTTP/1.1\r\nHost: test\r\n\r\n",
    "space in target": b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
    "tab in target": b"GET /a\tb HTTP/1.1\r\nHost: test\r\n\r\n",
    "tabs": b"GET\t/\tHTTP/1.1\r\nHost: test\r\n\r\n",
    "nul in target": b"GET /\x00 HTTP/1.1\r\nHost: test\r\n\r\n",
    "carriage return in target": b"GET /\r/ HTTP/1.1\r\nHost: test\r\n\r\n",
    "high bytes in target": b"GET /\xff\xfe HTTP/1.1\r\nHost: test\r\n\r\n",
    "space first": b" GET / HTTP/1.1\r\nHost: test\r\n\r\n",
    "space after version": b"GET / HTTP/1.1 \r\nHost: test\r\n\r\n",
    "other protocol": b"GET / SIP/1.0\r\nHost: test\r\n\r\n",
    "lower case": b"GET / http/1.1\r\nHost: test\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    "proxy line": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "proxy v2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", LINES)
def test_what_starts_no_request_is_refused(server: Running, name: str) -> None:
    check_refused(server, LINES[name])


@pytest.mark.parametrize("line", [b"GET  / HTTP/1.1", b"GET / RTSP/1.0", b"GET / ICE/1.0"])
def test_what_llhttp_reads_is_read_in_one_way(server: Running, line: bytes) -> None:
    """h11 refuses these; that llhttp does not makes no other request of them."""
    with Peer.open(server.port) as peer:
        peer.send(line + b"\r\nHost: test\r\nConnection: close\r\n\r\n" + MARKER)
        (reply,) = peer.replies_to_end()
    assert reply.is_last
    if reply.status != 200:
        check_error(reply, 400, 505)


@ROUTES
def test_a_length_over_32_bits_does_not_wrap(server: Running, start: bytes) -> None:
    with Peer.open(server.port) as peer:
        peer.send(start + b"Content-Length: %d\r\n\r\n12345" % (2**32 + 5) + MARKER + CLOSING)
        check_error(peer.reply(), 404, 413)
        peer.half_close()
        peer.expect_end()


@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n", b"\n"])
def test_empty_lines_before_a_request_are_skipped(server: Running, empty: bytes) -> None:
    """RFC 9112, section 2.2: old clients end a body with one. A bare line feed may be refused."""
    with Peer.open(server.port) as peer:
        peer.send(empty + scoring_request(1) + empty + scoring_request(2) + CLOSING)
        replies = peer.replies_to_end()
    if empty == b"\n" and len(replies) < 3:
        check_error(replies[-1], 400)
        return
    assert [reply.status for reply in replies] == [200, 200, 404]


LOOKALIKES = {
    "underscore": b"Transfer_Encoding: chunked\r\nContent_Length: 3\r\n",
    "longer": b"X-Transfer-Encoding: chunked\r\nContent-Length-: 3\r\n",
    "in a list": b"Connection: Content-Length, Transfer-Encoding\r\n",
    "in another": b"X: Content-Length: 3\r\n",
    "te": b"TE: chunked\r\n",
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_only_the_framing_headers_frame(server: Running, name: str) -> None:
    with Peer.open(server.port) as peer:
        peer.send(SCORE + LOOKALIKES[name] + LENGTH + b"\r\n" + BODY + MARKER + CLOSING)
        first, second, _ = peer.replies_to_end()
    assert first.json() == {"y": [[2.0, 2.0, 4.0, 6.0]]}
    assert MARK in second.body


def test_the_same_length_twice_is_one_or_none(server: Running) -> None:
    """RFC 9112, section 6.3: such a request may be read or refused."""
    with Peer.open(server.port) as peer:
        peer.send(SCORE + LENGTH + LENGTH + b"\r\n" + BODY + MARKER + CLOSING)
        replies = peer.replies_to_end()
    assert [reply.status for reply in replies] in ([200, 200, 404], [400])


def test_what_was_asked_before_a_bad_request_is_answered_first(server: Running) -> None:
    with Peer.open(server.port) as peer:
        good = scoring_request(1) + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" + scoring_request(2)
        peer.send(good + SCORE + AMBIGUOUS["length, chunks"] + MARKER)
        replies = peer.replies_to_end()
    assert [reply.status for reply in replies] == [200, 200, 200, 400]
    assert replies[0].json() == {"y": [[2.0, 2.0, 4.0, 6.0]]}
    assert replies[1].body == b"Healthy"
    assert replies[2].json() == {"y": [[4.0, 2.0, 4.0, 6.0]]}
    check_error(replies[3], 400)
    assert replies[3].is_last


@pytest.mark.parametrize("junk", [b"junk\r\n\r\n", b"\x00", b"GET / HTTP/9.9\r\n\r\n"])
@pytest.mark.parametrize("first", [scoring_request(1), b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"])
def test_junk_in_the_same_segment_cuts_no_answer(
    server: Running, first: bytes, junk: bytes
) -> None:
    with Peer.open(server.port) as peer:
        peer.send(first + junk + MARKER)
        replies = peer.replies_to_end()
    assert [reply.status for reply in replies[:1]] == [200]
    assert len(replies) == 2
    check_error(replies[1], 400, 505)


def test_a_refusal_is_seen_by_a_client_that_still_sends(server: Running) -> None:
    """Closing with bytes unread resets the connection, and may take the answer with it."""
    with Peer.open(server.port) as peer:
        peer.send(b"GET / HTTP/9.9\r\n\r\n")
        peer.send(b"x" * 4_000_000)
        replies = peer.replies_to_end()
    assert len(replies) == 1
    check_error(replies[0], 400, 505)


ODD = [b"\r\n", b"\n", b"\r", b" ", b"\x00", b":", b"0", b"\xff", b"\t"]


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """``raw`` with one change at a random place."""
    a = draw(st.integers(0, max(0, len(raw) - 1)))
    b = min(len(raw), a + draw(st.integers(1, 40)))
    kind = draw(st.sampled_from(["drop", "double", "flip", "insert", "truncate", "rotate"]))
    if kind == "drop":
        return raw[:a] + raw[b:]
    if kind == "double":
        return raw[:b] + raw[a:]
    if kind == "flip":
        bit = 1 << draw(st.integers(0, 7))
        return raw[:a] + bytes(byte ^ bit for byte in raw[a : a + 1]) + raw[a + 1 :]
    if kind == "insert":
        return raw[:a] + draw(st.sampled_from(ODD)) + raw[a:]
    return raw[:a] if kind == "truncate" else raw[b:] + raw[:b]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A stream of requests that was well formed before one to three changes."""
    stream: Stream = draw(streams(ends=draw(st.booleans())))
    whole = stream.whole
    for _ in range(draw(st.integers(1, 3))):
        whole = draw(damaged(whole))
    return whole


WORDS = [
    *(b"GET ", b"POST ", b"/", b"/score", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"Host: test\r\n"),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n"),
]
HOSTILE = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


GET, POST = b"GET /metrics HTTP/1.1\r\nHost: test\r\n", b"POST /nope HTTP/1.1\r\nHost: test\r\n"
TWO_HOSTS = b"POST /score HTTP/1.0\r\nHost:a\r\nHost: test\r\nContent-Length: 24\r\n\r\n"
TWO_IDS = (
    b"POST /score HTTP/1.1\r\nHost: test\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n"
    b"Connection: close\r\nContent-Length: 24\r\n\r\n"
)
DIGITS = b'{"data": [[0, 1, 2, 3]]}'


@example(sent=GET + b"\r\n" + POST + b"\r\n" + b"P", is_split=False)
@example(sent=TWO_HOSTS + DIGITS, is_split=False)
@example(sent=TWO_IDS + DIGITS, is_split=False)
@HOSTILE
@given(sent=mutants(), is_split=st.booleans())
def test_a_damaged_stream_is_answered_as_far_as_it_goes(
    server: Running, sent: bytes, is_split: bool
) -> None:
    """Right answers, in order, to what h11 reads; then at most one refusal, and the end.

    A client that stops in a request shuts down its side after the answers that are due."""
    heard = hear(sent)
    with Peer.open(server.port) as peer:
        half = len(sent) // 2 if is_split else 0
        peer.send_pieces([sent[:half], sent[half:]] if half else [sent])
        peer.half_close()
        replies = peer.replies_to_end(heard.methods)
    assert not peer.was_told_to_continue or heard.end is End.CUT
    check_answers(heard, replies, may_refuse=True)
    check_healthy(server)


@HOSTILE
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(WORDS)), max_size=14))
def test_any_bytes_get_http_or_the_end(server: Running, parts: list[bytes]) -> None:
    sent = b"".join(parts)
    heard = hear(sent)
    with Peer.open(server.port) as peer:
        peer.send(sent)
        peer.half_close()
        replies = peer.replies_to_end(heard.methods)
    for reply in replies:
        assert reply.status < 500 or is_refusal(reply)
        check_clean(reply.body)
    check_answers(heard, replies, may_refuse=True)
    check_healthy(server)
