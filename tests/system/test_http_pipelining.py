"""Many requests on one connection: order, back-pressure, half-closed and cut connections."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.system.hostile_server import Running, serve_model
from tests.system.http_oracle import check_answers, hear
from tests.system.http_requests import CLOSING, chunked, scoring_body, scoring_request
from tests.system.process_tree import cpu_s, resident_bytes, wait_until_idle
from tests.system.raw_http import MEBIBYTE, Peer, Reply

pytestmark = pytest.mark.slow

LIVE = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
SWAGGER = b"GET /swagger.json HTTP/1.1\r\nHost: test\r\n\r\n"
COLUMNS = 4000


def wide_model(path: Path) -> Path:
    """``y`` [N,4000] = the sum of ``x`` [N,4] in each column: a small request, a large answer."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", COLUMNS])
    ones = numpy_helper.from_array(np.ones((4, COLUMNS), np.float32), "ones")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "ones"], ["y"])], "g", [x], [y], [ones]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def check_log(running: Running) -> None:
    """Nothing that a client does is an error of the server."""
    text = running.log.read_text("utf-8", "replace")
    assert "Traceback" not in text, text[-3000:]
    assert " E [" not in text, text[-3000:]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_model(tmp_path_factory.mktemp("model")) as running:
        yield running
        check_log(running)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("wide")
    with serve_model(folder, model=wide_model(folder / "wide.onnx")) as running:
        with Peer.open(running.port) as peer:  # warm: what is allocated once is no growth
            for number in range(20):
                peer.send(scoring_request(number) + SWAGGER)
                check_wide(peer.reply(), number)
                peer.reply()
        yield running
        check_log(running)


def check_wide(reply: Reply, number: int) -> None:
    """The wide model's answer to scoring_request(number)."""
    assert reply.status == 200, reply.body[:300]
    assert reply.json() == {"y": [[6.0 + number] * COLUMNS]}


def check_doubled(reply: Reply, number: int) -> None:
    """The doubling model's answer to scoring_request(number)."""
    assert reply.status == 200, reply
    assert reply.json() == {"y": [[2.0 * number, 2.0, 4.0, 6.0]]}


def test_a_hundred_requests_in_one_write_get_each_its_own_answer(server: Running) -> None:
    with Peer.open(server.port) as peer:
        peer.send(b"".join(map(scoring_request, range(100))))
        for number in range(100):
            reply = peer.reply()
            check_doubled(reply, number)
            assert reply.value(b"x-request-id") == b"%d" % number
        peer.expect_silence()
        peer.send(scoring_request(100))
        check_doubled(peer.reply(), 100)


def test_what_comes_after_a_close_is_ignored(server: Running) -> None:
    with Peer.open(server.port) as peer:
        peer.send(b"".join(map(scoring_request, range(99))))
        peer.send(scoring_request(99, b"Connection: close") + scoring_request(777) * 10)
        replies = peer.replies_to_end()
    assert len(replies) == 100
    for number, reply in enumerate(replies):
        check_doubled(reply, number)
        assert reply.is_last is (number == 99)


@pytest.mark.parametrize("junk", [b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50])
@pytest.mark.parametrize("line", [b"POST /score", b"GET /"])
def test_junk_after_a_close_changes_nothing(server: Running, line: bytes, junk: bytes) -> None:
    body = scoring_body(1) if line == b"POST /score" else b""
    head = line + b" HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with Peer.open(server.port) as peer:
        peer.send(head % len(body) + body + junk)
        (reply,) = peer.replies_to_end()
    assert reply.status == 200
    assert reply.is_last


def _mixture(number: int) -> bytes:
    body = scoring_body(number)
    kinds = [
        scoring_request(number),
        LIVE,
        METRICS,
        b"POST /nope HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),
        b"POST /score HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(body, 4),
        b"HEAD /metrics HTTP/1.1\r\nHost: test\r\n\r\n",
        scoring_request(number, target=b"/score?x"),
        b"POST /score HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n{",
        b"DELETE /score HTTP/1.1\r\nHost: test\r\n\r\n",
    ]
    return kinds[number % len(kinds)]


@pytest.mark.parametrize("segment_bytes", [10**9, 1000, 37])
def test_fast_and_other_routes_keep_one_order(server: Running, segment_bytes: int) -> None:
    whole = b"".join(map(_mixture, range(63))) + CLOSING
    heard = hear(whole)
    assert len(heard.requests) == 64
    with Peer.open(server.port) as peer:
        peer.send_pieces(
            whole[at : at + segment_bytes] for at in range(0, len(whole), segment_bytes)
        )
        check_answers(heard, peer.replies_to_end(heard.methods))


def test_a_connection_serves_many_requests_one_after_another(server: Running) -> None:
    with Peer.open(server.port) as peer:
        for number in range(200):
            peer.send(scoring_request(number) if number % 3 else LIVE)
            reply = peer.reply()
            assert not reply.is_last
            if number % 3:
                check_doubled(reply, number)
        peer.send(scoring_request(1, b"Connection: close"))
        assert peer.reply().is_last
        peer.expect_end()


def test_two_connections_never_mix(server: Running) -> None:
    with Peer.open(server.port) as one, Peer.open(server.port) as two:
        for start in range(0, 100, 10):
            one.send(b"".join(scoring_request(start + place) for place in range(10)))
            two.send(b"".join(scoring_request(1000 + start + place) for place in range(10)))
            for place in range(10):
                check_doubled(one.reply(), start + place)
                check_doubled(two.reply(), 1000 + start + place)


QUEUED = 4000
GROWTH_BYTES = 24 * MEBIBYTE


def _send_what_fits(peer: Peer, data: bytes, stall_s: float = 1.0) -> int:
    """Send until the connection takes no more for ``stall_s``; returns how many bytes it took."""
    sent = 0
    while sent < len(data):
        if not select.select([], [peer.connection], [], stall_s)[1]:
            return sent
        peer.connection.setblocking(False)
        sent += peer.connection.send(data[sent : sent + 65536])
        peer.connection.settimeout(10)
    return sent


def test_a_client_that_does_not_read_is_made_to_wait(wide: Running) -> None:
    """80 MB of answers are asked for; they are made as they are read, not held in memory."""
    whole = b"".join(map(scoring_request, range(QUEUED)))
    before = resident_bytes(wide.process.pid)
    with Peer.open(wide.port, receive_buffer_bytes=16 * 1024) as peer:
        sent = _send_what_fits(peer, whole)
        wait_until_idle(wide.process.pid)
        assert resident_bytes(wide.process.pid) - before < GROWTH_BYTES
        with Peer.open(wide.port) as other:  # everybody else goes on
            for number in range(50):
                other.send(scoring_request(number) + LIVE)
                check_wide(other.reply(), number)
                assert other.reply().status == 200
        rest = threading.Thread(target=peer.send, args=(whole[sent:] + CLOSING,))
        rest.start()
        for number in range(QUEUED):
            reply = peer.reply()
            if number % 50 == 0:
                check_wide(reply, number)
            assert reply.status == 200
            assert reply.value(b"x-request-id") == b"%d" % number
        rest.join()
        assert peer.reply().status == 404
        peer.expect_end()
    assert resident_bytes(wide.process.pid) - before < 2 * GROWTH_BYTES


def test_a_client_that_does_not_read_other_routes_waits_too(wide: Running) -> None:
    whole = (SWAGGER + METRICS) * 3000
    before = resident_bytes(wide.process.pid)
    with Peer.open(wide.port, receive_buffer_bytes=16 * 1024) as peer:
        _send_what_fits(peer, whole)
        wait_until_idle(wide.process.pid)
        assert resident_bytes(wide.process.pid) - before < GROWTH_BYTES
        for _ in range(20):
            assert peer.reply().json()["swagger"] == "2.0"
            assert peer.reply().status == 200


def test_thirty_clients_that_do_not_read_are_bounded_too(wide: Running) -> None:
    whole = b"".join(map(scoring_request, range(500)))
    before = resident_bytes(wide.process.pid)
    peers = [Peer.open(wide.port, receive_buffer_bytes=16 * 1024) for _ in range(30)]
    try:
        for peer in peers:
            _send_what_fits(peer, whole, 0.2)
        wait_until_idle(wide.process.pid)
        assert resident_bytes(wide.process.pid) - before < 4 * GROWTH_BYTES
        with Peer.open(wide.port) as other:
            other.send(scoring_request(1))
            check_wide(other.reply(), 1)
        for peer in peers:
            for number in range(5):
                check_wide(peer.reply(), number)
    finally:
        for peer in peers:
            peer.connection.close()


ROWS = 200
LARGE_BODY = b'{"data": [' + b",".join([b"[1, 2, 3, 4]"] * ROWS) + b"]}"


def large_request(*headers: bytes) -> bytes:
    """Its answer has 4 MB."""
    lines = [b"POST /score HTTP/1.1", b"Host: test", b"Content-Length: %d" % len(LARGE_BODY)]
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + LARGE_BODY


def check_large(reply: Reply) -> None:
    """All of the 4 MB are there."""
    assert reply.status == 200
    assert reply.body.count(b"10") == ROWS * COLUMNS
    assert reply.value(b"content-length") == b"%d" % len(reply.body)


def test_a_large_answer_is_written_as_it_is_read(wide: Running) -> None:
    with Peer.open(wide.port, receive_buffer_bytes=16 * 1024) as peer:
        peer.send(large_request() + scoring_request(5))
        with Peer.open(wide.port) as other:
            other.send(scoring_request(1))
            check_wide(other.reply(), 1)
        check_large(peer.reply())
        check_wide(peer.reply(), 5)


def test_the_last_answer_is_whole_whatever_follows_it(wide: Running) -> None:
    """Bytes that nobody reads must not make the kernel reset the connection (RFC 9112, 9.6)."""
    with Peer.open(wide.port, receive_buffer_bytes=16 * 1024) as peer:
        sender = threading.Thread(
            target=peer.send, args=(large_request(b"Connection: close") + b"x" * MEBIBYTE,)
        )
        sender.start()
        check_large(peer.reply())
        sender.join()
        peer.expect_end()


@pytest.mark.parametrize(
    ("sent", "count"),
    [
        (scoring_request(1), 1),
        (LIVE, 1),
        (METRICS, 1),
        (scoring_request(1) + LIVE + scoring_request(2), 3),
        (LIVE + scoring_request(1), 2),
        (b"".join(map(_mixture, [0, 1, 2, 3, 4, 6, 7, 8])), 8),
        (scoring_request(1) + LIVE + b"GET / HT", 2),
        (scoring_request(1) + scoring_request(2)[:-1], 1),
    ],
    ids=["score", "live", "metrics", "three", "two", "eight", "cut head", "cut body"],
)
def test_a_client_that_has_said_all_gets_its_answers(
    server: Running, sent: bytes, count: int
) -> None:
    """``shutdown(SHUT_WR)`` after a request is how ``nc -N`` and some proxies end; what is complete
    is answered, what is not is dropped, and then the server closes."""
    for _ in range(5):
        with Peer.open(server.port) as peer:
            peer.send(sent)
            peer.half_close()
            replies = peer.replies_to_end()
        assert len(replies) == count
        check_answers(hear(sent), replies)


def test_a_half_closed_client_gets_a_large_answer(wide: Running) -> None:
    with Peer.open(wide.port, receive_buffer_bytes=16 * 1024) as peer:
        peer.send(large_request())
        peer.half_close()
        check_large(peer.reply())
        peer.expect_end()


def _leave(connection: socket.socket) -> None:
    connection.close()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("leave", [_leave, _reset], ids=["close", "reset"])
def test_clients_that_leave_their_queue_behind_do_no_harm(
    wide: Running, leave: Callable[[socket.socket], None]
) -> None:
    whole = b"".join(map(scoring_request, range(300))) + SWAGGER * 50 + large_request()
    for _ in range(20):
        peer = Peer.open(wide.port, receive_buffer_bytes=16 * 1024)
        _send_what_fits(peer, whole, 0.05)
        leave(peer.connection)
    wait_until_idle(wide.process.pid)
    with Peer.open(wide.port) as other:
        other.send(scoring_request(1) + LIVE)
        check_wide(other.reply(), 1)
        assert other.reply().status == 200
    check_log(wide)


def test_the_queue_of_a_client_that_has_left_is_not_worked_off(wide: Running) -> None:
    """A reset connection costs what was under way, not the seconds that its queue would take."""
    wait_until_idle(wide.process.pid)
    whole = b"".join([large_request()] * 100)
    peer = Peer.open(wide.port, receive_buffer_bytes=16 * 1024)
    _send_what_fits(peer, whole, 0.1)
    _reset(peer.connection)
    started, used = time.monotonic(), cpu_s(wide.process.pid)
    wait_until_idle(wide.process.pid)
    assert cpu_s(wide.process.pid) - used < 2, f"in {time.monotonic() - started:.1f} s"
