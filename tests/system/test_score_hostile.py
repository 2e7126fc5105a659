"""A server on the open internet: whatever comes, it refuses cleanly and answers the next one."""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.system.hostile_server import (
    GOOD,
    GOOD_ANSWER,
    JSON,
    ROOT,
    Running,
    read_all,
    serve_model,
    serve_script,
)

pytestmark = pytest.mark.slow

HEAD = b"POST /score HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
GOOD_REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
HUGE = 200_000_000
MEBIBYTE = b" " * 2**20
BOUNDED = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_model(tmp_path_factory.mktemp("model")) as running:
        yield running
        check_log(running)


def check_log(running: Running) -> None:
    """Refusing is routine: nothing of it is a crash of the server."""
    text = running.log.read_text("utf-8", "replace")
    assert "Traceback" not in text, text[-3000:]


def check_alive(running: Running) -> None:
    """The server still answers, and right."""
    answer = running.score()
    assert answer.status_code == 200
    assert answer.json() == GOOD_ANSWER


def check_clean(text: str) -> None:
    """No internals in what a client sees."""
    assert "Traceback" not in text
    assert 'File "' not in text
    for folder in (str(ROOT), sys.prefix, "site-packages", "/tmp/", "/root", "/home", "/work"):
        assert folder not in text


def message_of(answer: httpx.Response, status: int) -> str:
    """The error's text, after checking that it is one."""
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert list(document) == ["message"]
    message = str(document["message"])
    assert len(message) < 500
    check_clean(answer.text)
    return message


DEEP = 100_000
BAD_BODIES = {
    "empty": (b"", "the body is empty"),
    "cut": (b'{"data": [[1, 2', "not valid JSON"),
    "two documents": (GOOD * 2, "not valid JSON"),
    "single quotes": (b"{'data': [[1,2,3,4]]}", "not valid JSON"),
    "no utf-8": (b'{"data": "\xff\xfe"}', "not valid JSON"),
    "utf-16": ('{"data": 1}'.encode("utf-16"), "not valid JSON"),
    "nul": (b"\x00" * 1000, "not valid JSON"),
    "pickle": (b"\x80\x04\x95\x00\x00\x00\x00.", "not valid JSON"),
    "list": (b"[[1, 2, 3, 4]]", "no JSON object"),
    "number": (b"1", "no JSON object"),
    "deep list": (b'{"data": ' + b"[" * DEEP + b"]" * DEEP + b"}", "not valid JSON"),
    "deep object": (b'{"x":' * DEEP + b"1" + b"}" * DEEP, "not valid JSON"),
    "open list": (b"[" * DEEP, "not valid JSON"),
    "deep enough to parse": (b'{"data": ' + b"[" * 900 + b"]" * 900 + b"}", "32 nested"),
    "narrow": (b'{"data": [[1, 2, 3]]}', "expects float32 [N,4], got shape [1,3]"),
    "flat": (b'{"data": [1, 2, 3, 4]}', "expects float32 [N,4], got shape [4]"),
    "scalar": (b'{"data": 1}', "expects float32 [N,4], got shape []"),
    "ragged": (b'{"data": [[1, 2, 3, 4], [1]]}', "different lengths"),
    "vast shape": (b'{"data": {"shape": [0, 2147483647, 2147483647], "data": []}}', "input 'x'"),
    "text": (b'{"data": [["a", 2, 3, 4]]}', "text"),
    "number as text": (b'{"data": [["1", 2, 3, 4]]}', "text"),
    "boolean": (b'{"data": [[true, 2, 3, 4]]}', "true or false"),
    "null": (b'{"data": [[null, 2, 3, 4]]}', "null is no value"),
    "object": (b'{"data": [[{}, 2, 3, 4]]}', "an object"),
    "too large": (b'{"data": [[1e39, 2, 3, 4]]}', "too large"),
    "beyond double": (b'{"data": [[1e999, 2, 3, 4]]}', "infinity"),
    "bare NaN": (b'{"data": [[NaN, 2, 3, 4]]}', 'as strings: "NaN"'),
    "bare infinity": (b'{"data": [[-Infinity, 2, 3, 4]]}', 'as strings: "NaN"'),
    "unknown input": (b'{"z": 1}', "there is no input 'z'"),
    "unknown beside": (b'{"x": [[1, 2, 3, 4]], "z": 1}', "there is no input 'z'"),
    "data beside": (b'{"x": [[1, 2, 3, 4]], "data": 1}', "there is no input 'data'"),
    "nothing": (b"{}", "input 'x' (float32 [N,4]) is missing"),
    "markup": (b'{"<script>alert(1)</script>\\r\\nX: y": 1}', "there is no input"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused_with_its_reason(server: Running, name: str) -> None:
    body, reason = BAD_BODIES[name]
    assert reason in message_of(server.score(body), 400)
    check_alive(server)


def test_non_finite_numbers_come_and_go_as_text(server: Running) -> None:
    answer = server.score(b'{"data": [["NaN", "Infinity", "-Infinity", 3e38]]}')
    assert answer.status_code == 200
    assert answer.json() == {"y": [["NaN", "Infinity", "-Infinity", "Infinity"]]}


def test_no_rows_give_no_rows(server: Running) -> None:
    assert server.score(b'{"data": []}').json() == {"y": []}


def _send_200_mb(server: Running, head: bytes, *, is_chunked: bool) -> bytes:
    """Send it all, whatever the server says meanwhile, and only then read."""
    frame = b"%x\r\n%s\r\n" % (len(MEBIBYTE), MEBIBYTE) if is_chunked else MEBIBYTE
    with server.connect() as connection:
        connection.sendall(head)
        for _ in range(HUGE // len(MEBIBYTE)):
            connection.sendall(frame)
        return read_all(connection)


@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
def test_200_mb_are_refused_in_little_memory(tmp_path: Path, is_chunked: bool) -> None:
    with serve_model(tmp_path) as server:
        check_alive(server)
        before = server.peak_bytes
        length = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % HUGE
        answer = _send_200_mb(server, HEAD + length + b"\r\n\r\n", is_chunked=is_chunked)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'{"message": "the request body is larger than 104857600 bytes"}' in answer
        assert server.peak_bytes - before < (150e6 if is_chunked else 20e6)
        check_alive(server)
        check_log(server)


def test_a_declared_200_mb_is_refused_before_it_is_sent(server: Running) -> None:
    with server.connect(timeout_s=5) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % HUGE)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    check_alive(server)


def test_a_client_that_asks_first_is_told_before_it_sends(server: Running) -> None:
    with server.connect(timeout_s=5) as connection:
        ask = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(HEAD + ask % HUGE)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    with server.connect(timeout_s=5) as connection:
        connection.sendall(HEAD + ask % len(GOOD))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(GOOD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_one_long_text_among_short_ones_takes_little_memory(tmp_path: Path) -> None:
    with serve_model(tmp_path) as server:
        check_alive(server)
        before = server.peak_bytes
        body = b'{"data": [["' + b"x" * 100_000 + b'"' + b',"a"' * 500_000 + b"]]}"
        assert "text" in message_of(server.score(body), 400)
        assert server.peak_bytes - before < 150e6
        check_alive(server)


def test_a_slow_body_is_given_up_while_others_are_answered(tmp_path: Path) -> None:
    with serve_model(tmp_path, "--body-timeout-s", "1") as server:
        check_alive(server)
        slow = [server.connect(timeout_s=20) for _ in range(20)]
        started = time.monotonic()
        for connection in slow:
            connection.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{"da')
        asked = 0
        while time.monotonic() - started < 0.8:
            check_alive(server)
            asked += 1
        assert asked >= 3
        for connection in slow:
            with connection:
                answer = read_all(connection)
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert b'{"message": "the request body came too slowly"}' in answer
        assert 0.9 < time.monotonic() - started < 8
        check_alive(server)
        check_log(server)


def test_a_body_that_trickles_is_given_up(tmp_path: Path) -> None:
    with serve_model(tmp_path, "--body-timeout-s", "1") as server, server.connect(10) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        finally:
            stop.set()
            thread.join()
        check_alive(server)


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-request-id", "x-ms-client-request-id"])
def test_request_ids_of_up_to_100_characters_are_echoed(server: Running, name: str) -> None:
    answer = server.score(headers={**JSON, name: "i" * 100})
    assert answer.status_code == 200
    assert answer.json() == GOOD_ANSWER
    assert answer.headers[name] == "i" * 100
    assert "must not exceed 100 characters" in message_of(
        server.score(headers={**JSON, name: "i" * 101}), 431
    )
    check_alive(server)


@pytest.mark.parametrize(
    "path", ["/nope", "/score/", "/score/x", "//score", "/%2e%2e/etc/passwd", "/score%00", "/é"]
)
def test_unknown_routes_are_404(server: Running, path: str) -> None:
    answer = httpx.post(server.url + path, content=GOOD, headers=JSON, trust_env=False)
    message_of(answer, 404)
    check_alive(server)


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/swagger.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_unknown_methods_are_405(server: Running, path: str, method: str) -> None:
    answer = httpx.request(method, server.url + path, trust_env=False)
    message_of(answer, 405)
    assert {"GET", "HEAD"} <= set(answer.headers["Allow"].split(", ")) <= {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "TRACE"])
def test_a_model_scores_posts_only(server: Running, method: str) -> None:
    answer = httpx.request(method, f"{server.url}/score", trust_env=False)
    message_of(answer, 405)
    assert answer.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "image/png",
        "garbage",
        "application/jsonx",
        "application/json,text/html",
        "x" * 5000,
    ],
)
def test_what_calls_itself_no_json_is_415(server: Running, content_type: str) -> None:
    message_of(server.score(headers={"Content-Type": content_type}), 415)
    check_alive(server)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/vnd.x+json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        ";",
    ],
)
def test_json_by_any_usual_name_is_read(server: Running, content_type: str) -> None:
    assert server.score(headers={"Content-Type": content_type}).json() == GOOD_ANSWER


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "x, gzip"])
def test_compressed_bodies_are_415(server: Running, encoding: str) -> None:
    message_of(server.score(headers={**JSON, "Content-Encoding": encoding}), 415)
    check_alive(server)


GARBAGE = {
    "text": b"hello\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "zeros": b"\x00" * 1000,
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "method": b"BREW /score HTTP/1.1\r\nHost: test\r\n\r\n",
    "version": b"GET / HTTP/9.9\r\nHost: test\r\n\r\n",
    "nul in header": HEAD + b"X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "cr in header": HEAD + b"x-request-id: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\n{}",
    "space in name": HEAD + b"X A: b\r\nContent-Length: 2\r\n\r\n{}",
    "folded header": HEAD + b"X-A: a\r\n\tb : c\x01\r\nContent-Length: 2\r\n\r\n{}",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "length of text": HEAD + b"Content-Length: 0x10\r\n\r\n{}",
    "endless length": HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "other transfer": HEAD + b"Transfer-Encoding: gzip\r\n\r\nZZ\r\n",
    "long path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
    "long query": b"GET /?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_http_gets_400_and_the_door(server: Running, name: str) -> None:
    answer = server.exchange(GARBAGE[name])
    assert answer == b"" or re.match(rb"HTTP/1\.1 (4\d\d|501|505) ", answer)
    assert answer.count(b"HTTP/1.1") <= 1
    assert b"Set-Cookie" not in answer
    check_clean(answer.decode("latin-1"))
    check_alive(server)


def test_an_id_of_odd_bytes_comes_back_as_it_came(server: Running) -> None:
    sent = HEAD + b"x-request-id: \xff\xc3\xa9\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    answer = server.exchange(sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: \xff\xc3\xa9\r\n" in answer


@pytest.mark.parametrize("query", ["version=9", "version=%ff", "version=" + "a" * 20_000, "="])
def test_odd_swagger_versions_are_answered(server: Running, query: str) -> None:
    answer = httpx.get(f"{server.url}/swagger.json?{query}", trust_env=False)
    assert answer.status_code in (200, 404)
    assert isinstance(answer.json(), dict)
    check_alive(server)


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{"])
def test_a_half_closed_connection_ends(server: Running, sent: bytes) -> None:
    assert server.exchange(sent, half_close=True) == b""
    check_alive(server)


def test_connections_that_are_cut_do_no_harm(server: Running) -> None:
    for _ in range(100):
        connection = server.connect()
        reset_at_close = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n{" + b" " * 1000)
        connection.close()
    for _ in range(100):
        connection = server.connect()
        connection.sendall(GOOD_REQUEST)
        connection.close()
    check_alive(server)


def test_idle_connections_keep_nobody_waiting(server: Running) -> None:
    idle = [server.connect() for _ in range(200)]
    try:
        check_alive(server)
    finally:
        for connection in idle:
            connection.close()


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    def request(number: int) -> bytes:
        body = b'{"data": [[%d, 0, 0, 0]]}' % number if number % 3 else b"{nonsense"
        return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body

    with server.connect(timeout_s=20) as connection:
        connection.sendall(b"".join(request(number) for number in range(30)))
        received = b""
        while received.count(b"HTTP/1.1 ") < 30 or not received.endswith(b"}"):
            chunk = connection.recv(65536)
            assert chunk
            received += chunk
    answers = received.split(b"HTTP/1.1 ")[1:]
    for number, answer in enumerate(answers):
        status, body = answer[:3], answer.partition(b"\r\n\r\n")[2]
        assert status == (b"200" if number % 3 else b"400")
        if number % 3:
            assert json.loads(body) == {"y": [[2.0 * number, 0.0, 0.0, 0.0]]}


def test_good_requests_among_bad_ones_are_all_answered_right(server: Running) -> None:
    bad = [body for body, _ in BAD_BODIES.values()]

    def ask(number: int) -> None:
        if number % 2:
            message_of(server.score(bad[number // 2 % len(bad)]), 400)
            return
        answer = server.score(b'{"data": [[%d, 1, 2, 3]]}' % number)
        assert answer.status_code == 200
        assert answer.json() == {"y": [[2.0 * number, 2.0, 4.0, 6.0]]}

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(400)))


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**64), 2**64),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.sampled_from(["NaN", "Infinity", "x", "data", "shape"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["x", "data", "shape", "other"]), inner, max_size=3),
    ),
    max_leaves=12,
)


@BOUNDED
@given(st.one_of(JSON_VALUES, st.dictionaries(st.sampled_from(["x", "data"]), JSON_VALUES)))
def test_any_json_is_answered_or_refused(server: Running, document: Any) -> None:
    answer = server.score(json.dumps(document).encode())
    assert answer.status_code in (200, 400)
    answer.json()
    check_clean(answer.text)


@BOUNDED
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused(server: Running, body: bytes, is_value: bool) -> None:
    answer = server.score(b'{"data":' + body + b"}" if is_value else body)
    assert answer.status_code in (200, 400)
    answer.json()
    check_clean(answer.text)


@BOUNDED
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_on_the_wire_leave_the_server_up(server: Running, sent: bytes) -> None:
    with server.connect(timeout_s=0.05) as connection:
        connection.sendall(sent)
        check_clean(read_all(connection).decode("latin-1"))
    check_alive(server)


SECRET = "hunter2-in-/opt/secret/weights.bin"
SCRIPT = f"""
import json

def init():
    print("init prints")

def run(raw):
    asked = json.loads(raw)
    if asked.get("print"):
        for number in range(20000):
            print("line", number, "x" * 100)
        print("no end of line", end="")
        print(chr(233), chr(0x1f600), chr(27) + "[31m")
    if asked.get("raise"):
        raise RuntimeError("{SECRET}")
    if asked.get("odd"):
        return {{"y": float("nan")}}
    if asked.get("unserializable"):
        return object()
    return {{"y": asked.get("x", 0) * 2}}
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_script(tmp_path_factory.mktemp("script"), SCRIPT) as running:
        yield running


def check_script_alive(running: Running) -> None:
    """The script still answers, and right."""
    answer = running.score(b'{"x": 21}')
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json() == {"y": 42}


def test_a_script_that_prints_a_lot_answers(script: Running) -> None:
    answer = script.score(b'{"print": true, "x": 1}')
    assert answer.status_code == 200
    assert answer.json() == {"y": 2}
    check_script_alive(script)


def test_what_a_script_raises_stays_in_the_log(script: Running) -> None:
    answer = script.score(b'{"raise": true}')
    assert answer.status_code == 500
    assert answer.headers["x-ms-run-function-failed"] == "True"
    check_clean(answer.text)
    for part in ("hunter2", "secret", "RuntimeError"):
        assert part not in answer.text
        assert part not in str(answer.headers)
    deadline = time.monotonic() + 45
    while SECRET not in script.log.read_text("utf-8", "replace"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    check_script_alive(script)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"x": "\xff"}',
        b"{",
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"unserializable": 1}',
        b'{"odd": 1}',
        b"\x00" * 1000,
    ],
    ids=["empty", "bom", "bad utf-8", "cut", "deep list", "deep object", "object", "nan", "nul"],
)
def test_a_script_survives_bad_bodies(script: Running, body: bytes) -> None:
    answer = script.score(body)
    assert answer.status_code in (200, 400, 500)
    check_clean(answer.text)
    check_script_alive(script)


def test_a_script_survives_a_bad_query(script: Running) -> None:
    for query in ("x=%ff", "a" * 10_000, "x=%00", "=&=&="):
        answer = httpx.get(f"{script.url}/score?{query}", trust_env=False)
        assert answer.status_code in (200, 400, 500)
        check_clean(answer.text)
    check_script_alive(script)


@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
def test_a_script_never_sees_200_mb(tmp_path: Path, is_chunked: bool) -> None:
    with serve_script(tmp_path, SCRIPT) as running:
        check_script_alive(running)
        before = running.peak_bytes
        length = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % HUGE
        answer = _send_200_mb(running, HEAD + length + b"\r\n\r\n", is_chunked=is_chunked)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert running.peak_bytes - before < (150e6 if is_chunked else 20e6)
        check_script_alive(running)


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-request-id", "x-ms-client-request-id"])
def test_a_scripts_request_ids_have_up_to_100_characters(script: Running, name: str) -> None:
    assert script.score(b"{}", {**JSON, name: "i" * 100}).headers[name] == "i" * 100
    assert script.score(b"{}", {**JSON, name: "i" * 101}).status_code == 431
    check_script_alive(script)


@BOUNDED
@given(st.binary(max_size=200))
def test_any_bytes_leave_a_script_up(script: Running, body: bytes) -> None:
    answer = script.score(body)
    assert answer.status_code in (200, 400, 500)
    check_clean(answer.text)
