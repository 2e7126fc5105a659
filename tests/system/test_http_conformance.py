"""Well-formed HTTP/1.x in every shape, judged by h11: the right answers, in order, and no others.

On the fast route (``POST /score``), on those behind ASGI, and mixed on one connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.system.hostile_server import Running, serve_model
from tests.system.http_oracle import End, check_answers, hear
from tests.system.http_requests import (
    CLOSING,
    Stream,
    chunked,
    scoring_body,
    scoring_request,
    streams,
)
from tests.system.raw_http import Peer, Reply, check_error

pytestmark = pytest.mark.slow

SCORE = b"POST /score"
LIVE = b"GET /"
FAST_AND_SLOW = pytest.mark.parametrize("line", [SCORE, LIVE], ids=["fast", "asgi"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_model(tmp_path_factory.mktemp("model")) as running:
        yield running
        text = running.log.read_text("utf-8", "replace")
        assert "Traceback" not in text, text[-3000:]


def make(line: bytes, *headers: bytes, version: bytes = b"1.1", host: bool = True) -> bytes:
    """A request with ``line`` that is answered 200; /score gets a body."""
    body = scoring_body(7) if b"core" in line else b""
    lines = [line + b" HTTP/" + version, *([b"Host: test"] if host else []), *headers]
    if body and not any(b"ransfer-" in header for header in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def ask(server: Running, sent: bytes, *methods: str) -> list[Reply]:
    """Send and read to the end; ``sent`` has to make the server close."""
    with Peer.open(server.port) as peer:
        peer.send(sent)
        return peer.replies_to_end(methods)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(streams())
def test_what_h11_reads_is_what_is_answered(server: Running, stream: Stream) -> None:
    heard = hear(stream.whole)
    assert (len(heard.requests), heard.end) == (len(stream.requests), End.CLOSED), heard.reason
    with Peer.open(server.port) as peer:
        peer.send_pieces(stream.pieces)
        check_answers(heard, peer.replies_to_end(heard.methods))


def test_bytes_that_come_one_by_one_make_the_same_requests(server: Running) -> None:
    body = chunked(scoring_body(3), 5, b";a=b", b"X-T: 1\r\n")
    whole = (
        scoring_request(1)
        + b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
        + b"POST /score HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + body
        + b"POST /nope HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"
        + scoring_request(2, b"Connection: close")
    )  # fmt: skip
    heard = hear(whole)
    with Peer.open(server.port) as peer:
        peer.send_pieces(whole[place : place + 1] for place in range(len(whole)))
        check_answers(heard, peer.replies_to_end(heard.methods))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST /score", 200),
        (b"POST /score?", 200),
        (b"POST /score?a=/../b&c=%ff", 200),
        (b"POST /%73core", 200),
        (b"POST http://test/score", 200),
        (b"POST http://other.example:99/score?x", 200),
        (b"POST HTTP://test/score", 200),
        (b"POST /Score", 404),
        (b"POST /score/", 404),
        (b"POST //score", 404),
        (b"POST /./score", 404),
        (b"POST /score%20", 404),
        (b"POST /score;x", 404),
        (b"GET /?score", 200),
        (b"GET http://test/healthz", 200),
        (b"GET /nope", 404),
    ],
)
def test_every_form_of_a_target_finds_its_route(server: Running, line: bytes, status: int) -> None:
    (reply,) = ask(server, make(line, b"Connection: close"))
    assert reply.status == status, reply
    if status == 404:
        check_error(reply, 404)
    elif line.startswith(b"POST"):
        assert reply.json() == {"y": [[14.0, 2.0, 4.0, 6.0]]}


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://test",
        b"OPTIONS *",
        b"GET *",
        b"GET score",
        b"CONNECT test:80",
        b"CONNECT /score",
        b"TRACE /nope",
        b"POST ftp://test/score",
        b"GET /%",
        b"GET /%zz",
        b"GET /%c3%28",
        b"GET /#fragment",
        b"GET http://[::1/",
        b"GET http://",
        b"GET //",
        b"GET /" + b"%2e%2e/" * 50,
    ],
)
def test_odd_targets_are_answered_or_refused_once(server: Running, line: bytes) -> None:
    secret = b"X-Secret: hunter2"
    replies = ask(server, make(line, secret) + CLOSING)
    assert len(replies) == (1 if replies[0].is_last else 2)
    for reply in replies:
        assert reply.status < 500
        assert b"hunter2" not in reply.body  # TRACE echoes nothing
        if reply.status >= 400:
            check_error(reply)
    assert replies[-1].is_last


@pytest.mark.parametrize("target", [b"/", b"/healthz", b"/metrics", b"/swagger.json", b"/score"])
def test_a_head_has_the_headers_of_a_get_and_no_body(server: Running, target: bytes) -> None:
    whole = make(b"GET " + target) + make(b"HEAD " + target) + CLOSING
    got, head, last = ask(server, whole, "GET", "HEAD", "GET")
    assert last.status == 404
    assert head.status == got.status
    assert head.body == b""
    assert {name for name, _ in head.headers} == {name for name, _ in got.headers}
    if target != b"/metrics":  # counts meanwhile
        assert head.value(b"content-length") == got.value(b"content-length")


def test_the_last_head_of_a_connection_has_no_body_either(server: Running) -> None:
    (reply,) = ask(server, make(b"HEAD /nope", b"Connection: close"), "HEAD")
    assert reply.status == 404


@pytest.mark.parametrize("target", [b"/score", b"/"])
def test_options_say_what_is_allowed(server: Running, target: bytes) -> None:
    reply, _ = ask(server, make(b"OPTIONS " + target) + CLOSING, "OPTIONS")
    assert reply.status == 200


@pytest.mark.parametrize("method", [b"BREW", b"post", b"PO", b"POSTX", b"X" * 500, b"M-SEARCH"])
@pytest.mark.parametrize("target", [b"/score", b"/"])
def test_other_methods_are_refused(server: Running, method: bytes, target: bytes) -> None:
    replies = ask(server, make(method + b" " + target) + CLOSING)
    check_error(replies[0], 400, 405, 501)
    assert len(replies) == (1 if replies[0].is_last else 2)


@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"3.0", b"9.9", b"1", b"1.10"])
@FAST_AND_SLOW
def test_other_versions_are_refused(server: Running, line: bytes, version: bytes) -> None:
    (reply,) = ask(server, make(line, version=version) + CLOSING)
    check_error(reply, 400, 505)
    assert reply.is_last


@FAST_AND_SLOW
def test_http_1_0_is_answered_and_closed(server: Running, line: bytes) -> None:
    (reply,) = ask(server, make(line, version=b"1.0", host=False) + CLOSING)
    assert reply.status == 200
    assert reply.is_last


@FAST_AND_SLOW
def test_http_1_0_stays_open_only_if_told_so(server: Running, line: bytes) -> None:
    """A client of HTTP/1.0 takes silence for the end."""
    whole = make(line, b"Connection: keep-alive", version=b"1.0", host=False) + CLOSING
    first, *others = ask(server, whole)
    assert first.status == 200
    told = (first.value(b"connection") or b"").lower()
    assert (told, len(others)) in [(b"close", 0), (b"keep-alive", 1)]


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b"Host: a", b"Host: b"],
        [b"Host: a", b"Host: a"],
        [b"Host: a b"],
        [b"Host: a, b"],
        [b"Host: a/b"],
        [b"Host: a@b"],
    ],
)
@FAST_AND_SLOW
def test_http_1_1_needs_one_host(server: Running, line: bytes, hosts: list[bytes]) -> None:
    """RFC 9112, section 3.2: a server MUST answer 400 to none, to several and to an invalid one."""
    (reply,) = ask(server, make(line, *hosts, host=False) + CLOSING)
    check_error(reply, 400)
    assert reply.is_last


@pytest.mark.parametrize("host", [b"", b"test:80", b"[::1]:80", b"EXAMPLE.org", b"a_b", b"1.2.3.4"])
@FAST_AND_SLOW
def test_any_valid_host_will_do(server: Running, line: bytes, host: bytes) -> None:
    whole = make(line, b"Host: " + host, b"Connection: close", host=False)
    (reply,) = ask(server, whole)
    assert reply.status == 200


UPGRADES = {
    "websocket": [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"],
    "h2c": [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"],
    "unknown": [b"Upgrade: TLS/1.0, x", b"Connection: upgrade"],
    "unasked": [b"Upgrade: h2c"],
}


@pytest.mark.parametrize("name", UPGRADES)
@FAST_AND_SLOW
def test_an_upgrade_is_ignored(server: Running, line: bytes, name: str) -> None:
    """As RFC 9110, section 7.8, allows: clients that offer h2c (Java's do) are answered in 1.1."""
    first, second, _ = ask(server, make(line, *UPGRADES[name]) + scoring_request(5) + CLOSING)
    assert first.status == 200
    assert first.value(b"upgrade") is None
    assert second.json() == {"y": [[10.0, 2.0, 4.0, 6.0]]}


@FAST_AND_SLOW
def test_an_ignored_upgrade_keeps_the_connection(server: Running, line: bytes) -> None:
    with Peer.open(server.port) as peer:
        for _ in range(2):
            peer.send(make(line, *UPGRADES["h2c"]))
            assert peer.reply().status == 200
        peer.send(CLOSING)
        assert peer.reply().status == 404
        peer.expect_end()


def test_an_upgrade_with_a_chunked_body_is_ignored(server: Running) -> None:
    headers = b"\r\n".join([*UPGRADES["h2c"], b"Transfer-Encoding: chunked"])
    whole = b"POST /score HTTP/1.1\r\nHost: test\r\n" + headers + b"\r\n\r\n"
    whole += chunked(scoring_body(6), 7)
    first, second, _ = ask(server, whole + scoring_request(5) + CLOSING)
    assert first.json() == {"y": [[12.0, 2.0, 4.0, 6.0]]}
    assert second.json() == {"y": [[10.0, 2.0, 4.0, 6.0]]}


def test_http_2_with_prior_knowledge_is_refused_once(server: Running) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    (reply,) = ask(server, preface + CLOSING)
    check_error(reply, 400, 505)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (make(SCORE), 200),
        (make(LIVE), 200),
        (make(b"GET /metrics"), 200),
        (make(b"POST /score?x", b"Content-Type: image/png"), 415),
        (make(b"GET /nope"), 404),
    ],
    ids=["score", "live", "metrics", "refused", "unknown"],
)
def test_an_answer_has_the_headers_it_needs(server: Running, sent: bytes, status: int) -> None:
    """RFC 9110, section 6.6.1: a server with a clock MUST date its answers."""
    reply, _ = ask(server, sent + CLOSING)
    assert reply.status == status
    assert reply.value(b"date")
    assert reply.value(b"content-type")
    assert reply.value(b"content-length") == b"%d" % len(reply.body)
    assert reply.value(b"server") is None


@pytest.mark.parametrize(
    "trailer",
    [b"X-Request-Id: 8", b"Content-Type: image/png", b"Content-Encoding: gzip", b"Expect: x"],
)
def test_trailers_are_no_headers(server: Running, trailer: bytes) -> None:
    """RFC 9110, section 6.5.1: they come too late to say what the request is."""
    whole = b"POST /score HTTP/1.1\r\nHost: test\r\nX-Request-Id: 7\r\n"
    whole += b"Transfer-Encoding: chunked\r\n\r\n"
    whole += chunked(scoring_body(6), 100, b"", trailer + b"\r\n")
    reply, _ = ask(server, whole + CLOSING)
    assert reply.json() == {"y": [[12.0, 2.0, 4.0, 6.0]]}
    assert reply.value(b"x-request-id") == b"7"


STRICTER = {
    "bare line feeds": b"GET / HTTP/1.1\nHost: test\n\n",
    "bare line feed after a header": b"GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: test\r\nX: y\r\n z\r\n\r\n",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n"
    ),
    "tab after chunked": (
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n"
    ),
    "unknown method": b"BREW / HTTP/1.1\r\nHost: test\r\n\r\n",
}
"""What h11 reads and this server may refuse: RFC 9112 allows it (2.2, 5.2, 6.3.3) and no client of
ours sends it, while other servers read it differently, which is what request smuggling lives on."""


@pytest.mark.parametrize("name", STRICTER)
def test_what_h11_reads_and_we_refuse_is_listed(server: Running, name: str) -> None:
    assert hear(STRICTER[name]).end is End.IDLE
    check_answers(hear(STRICTER[name]), ask(server, STRICTER[name] + CLOSING), may_refuse=True)
