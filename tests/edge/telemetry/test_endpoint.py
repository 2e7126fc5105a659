"""The socket that applications speak to, also those that are slow, silent or hostile."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.errors import OutboxError
from edge.outbox.record import NewRecord
from edge.switch.locks import LockBoard
from edge.telemetry import endpoint as module
from edge.telemetry.endpoint import CONNECTIONS, MAX_BODY_BYTES, ModuleEndpoint, connect
from tests.edge.outbox.boxes import held, opened, wait_for


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, object]


@dataclass
class Box:
    """Takes records unless it has an error; ``gate`` holds it."""

    records: list[NewRecord] = field(default_factory=list)
    error: str | None = None
    gate: threading.Event | None = None

    def append(self, records: Sequence[NewRecord]) -> None:
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.error is not None:
            raise OutboxError(self.error)
        self.records += records


@pytest.fixture(autouse=True)
def ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.01)


@contextlib.contextmanager
def _open(
    folder: Path,
    append: Callable[[Sequence[NewRecord]], object] | None = None,
    locks: LockBoard | None = None,
) -> Iterator[ModuleEndpoint]:
    found = ModuleEndpoint(
        "press", folder, append or Box().append, locks or LockBoard(), hub_now_ms=lambda: 77
    )
    found.open()
    try:
        yield found
    finally:
        found.close()


def _read(link: socket.socket) -> Answer:
    with link.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return Answer(status, headers, json.loads(file.read(int(headers["Content-Length"]))))


def _request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: agent\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


def _ask(
    at: ModuleEndpoint, method: str, path: str, body: bytes = b"", headers: str = ""
) -> Answer:
    with connect(at.path) as link:
        link.settimeout(10)
        link.sendall(_request(method, path, body, headers))
        return _read(link)


def test_records_are_stored_under_the_modules_name(tmp_path: Path) -> None:
    box = Box()
    with _open(tmp_path, box.append) as at:
        answer = _ask(at, "POST", "/telemetry", b'[{"kind": "a", "body": 1}, {"kind": "b"}]')
        assert (answer.status, answer.body) == (202, {"stored": 2})
        assert [(each.source, each.kind) for each in box.records] == [
            ("press", "a"),
            ("press", "b"),
        ]
        assert _ask(at, "GET", "/").body == {"module": "press", "time_ms": 77}


def test_202_comes_only_once_the_records_are_durable(tmp_path: Path) -> None:
    box = Box(gate=threading.Event())
    with _open(tmp_path, box.append) as at, connect(at.path) as link:
        link.sendall(_request("POST", "/telemetry", b'{"kind": "a"}'))
        link.settimeout(0.2)
        with pytest.raises(TimeoutError):
            link.recv(1)
        assert box.gate is not None
        box.gate.set()
        link.settimeout(10)
        assert _read(link).status == 202


def test_into_a_real_outbox(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as outbox, _open(tmp_path, outbox.append) as at:
        answer = _ask(at, "POST", "/telemetry", b'{"kind": "a", "body": {"n": 5}}')
        assert answer.status == 202
        assert held(outbox) == {1: 5}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (_request("POST", "/telemetry", b"{"), 400),
        (_request("POST", "/telemetry", b'{"kind": "a", "body": NaN}'), 400),
        (_request("POST", "/telemetry", b'{"kind": "\xff"}'), 400),
        (_request("POST", "/elsewhere"), 404),
        (_request("PUT", "/telemetry"), 404),
        (_request("DELETE", "/telemetry"), 404),
        (_request("GET", "/telemetry"), 404),
        (b"POST /telemetry HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /telemetry HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /telemetry HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /telemetry HTTP/1.1\r\nContent-Length: " + b"9" * 6000 + b"\r\n\r\n", 400),
        (b"POST /telemetry HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (_request("POST", "/telemetry", b"x" * (MAX_BODY_BYTES + 1)), 413),
        (_request("BREW", "/"), 501),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (_request("PUT", "/lock", b"[]"), 400),
        (_request("PUT", "/lock", b"[" * 50_000), 400),
        (_request("PUT", "/lock", b'{"ttl_s": NaN}'), 400),
        (_request("PUT", "/lock", b'{"ttl_s": true}'), 400),
        (_request("PUT", "/lock", b'{"ttl_s": 1e9}'), 400),
        (_request("PUT", "/lock", b'{"reason": ""}'), 400),
        (_request("PUT", "/lock", b'{"reason": "\\ud800"}'), 400),
        (_request("PUT", "/lock", b'{"reason": "a\\u0000b"}'), 400),
        (_request("PUT", "/lock", b'{"more": 1}'), 400),
    ],
)
def test_what_is_refused(
    tmp_path: Path, request_: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWALLOW_S", 0.1)
    box, locks = Box(), LockBoard()
    with _open(tmp_path, box.append, locks) as at:
        with connect(at.path) as link:
            link.settimeout(10)
            with contextlib.suppress(BrokenPipeError):
                link.sendall(request_)
            answer = _read(link)
        assert answer.status == status
        assert list(answer.body) == ["error"]
        assert box.records == []
        assert locks.held("press") is None
        assert _ask(at, "GET", "/").status == 200


def test_an_outbox_that_takes_nothing_says_when_to_come_back(tmp_path: Path) -> None:
    with _open(tmp_path, Box(error="the disk is full; make room").append) as at:
        answer = _ask(at, "POST", "/telemetry", b'{"kind": "a"}')
    assert answer.status == 503
    assert answer.body == {"error": "the disk is full; make room"}
    assert int(answer.headers["Retry-After"]) > 0


def test_a_connection_serves_many_requests(tmp_path: Path) -> None:
    box = Box()
    with _open(tmp_path, box.append) as at, connect(at.path) as link:
        link.settimeout(10)
        for _ in range(3):
            link.sendall(_request("POST", "/telemetry", b'{"kind": "a"}'))
            assert _read(link).status == 202
        link.sendall(_request("POST", "/telemetry", b"{"))
        assert _read(link).status == 400
        link.sendall(_request("POST", "/telemetry", b'{"kind": "a"}'))
        assert _read(link).status == 202
    assert len(box.records) == 4


def test_locks_and_ready(tmp_path: Path) -> None:
    locks = LockBoard()
    with _open(tmp_path, locks=locks) as at:
        assert (
            _ask(at, "PUT", "/lock", b'{"reason": "a  cut\\nis made", "ttl_s": 60}').status == 200
        )
        assert locks.held("press") == "a cut is made"
        assert _ask(at, "DELETE", "/lock").body == {"locked": False}
        assert locks.held("press") is None
        assert _ask(at, "PUT", "/lock").status == 200
        assert locks.held("press") is not None
        assert not locks.is_ready("press")
        assert _ask(at, "POST", "/ready").body == {"ready": True}
        assert locks.is_ready("press")
        assert not locks.is_ready("other")


def test_slow_and_silent_clients_do_not_stop_others(tmp_path: Path) -> None:
    with _open(tmp_path) as at, contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS - 1):
            link = stack.enter_context(connect(at.path))
            if number % 2:
                link.sendall(b"POST /telemetry HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert _ask(at, "POST", "/telemetry", b'{"kind": "a"}').status == 202
        assert time.monotonic() - began < 10


def test_one_too_many_is_told_so_and_a_place_comes_free(tmp_path: Path) -> None:
    with _open(tmp_path) as at:
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(connect(at.path))
            with connect(at.path) as link:
                link.settimeout(10)
                answer = _read(link)
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"
        wait_for(lambda: _ask(at, "GET", "/").status == 200)


def test_threads_that_cannot_be_started_cost_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with _open(tmp_path) as at:
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", start)
            for _ in range(CONNECTIONS):
                with connect(at.path) as link:
                    link.settimeout(10)
                    assert link.recv(1) == b""
        assert _ask(at, "GET", "/").status == 200


@pytest.mark.parametrize("what", ["mode", "thread"])
def test_one_that_cannot_be_opened_says_so_and_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(1, "not permitted") if what == "mode" else RuntimeError("no thread")

    found = ModuleEndpoint("press", tmp_path, Box().append, LockBoard())
    with monkeypatch.context() as short:
        if what == "mode":
            short.setattr("edge.telemetry.endpoint.os.chmod", fail)
        else:
            short.setattr(threading.Thread, "start", fail)
        with pytest.raises(OSError, match=r"not permitted|no thread"):
            found.open()
    closing = threading.Thread(target=found.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()
    found.open()
    assert _ask(found, "GET", "/").status == 200
    found.close()


def test_a_body_that_drips_is_given_up_after_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.3)
    with _open(tmp_path) as at, connect(at.path) as link:
        link.settimeout(10)
        link.sendall(b"POST /telemetry HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(3000):
                link.sendall(b"{")
                time.sleep(0.02)
        assert time.monotonic() - began < 20
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(100) == b""


def test_a_head_that_drips_is_given_up_after_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.3)
    with _open(tmp_path) as at, connect(at.path) as link:
        link.settimeout(10)
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(3000):
                link.sendall(b"G")
                time.sleep(0.02)
        assert time.monotonic() - began < 20


def test_a_client_that_goes_away_costs_nothing(tmp_path: Path) -> None:
    box = Box(gate=threading.Event())
    with _open(tmp_path, box.append) as at:
        with connect(at.path) as link:
            link.sendall(_request("POST", "/telemetry", b'{"kind": "a"}'))
        assert box.gate is not None
        box.gate.set()
        wait_for(lambda: len(box.records) == 1)
        assert _ask(at, "GET", "/").status == 200


def test_the_socket_of_a_killed_agent_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / "agent.sock"))
    with _open(tmp_path) as at:
        assert _ask(at, "GET", "/").status == 200
    assert not (tmp_path / "agent.sock").exists()
    at.close()


def test_any_user_may_connect(tmp_path: Path) -> None:
    with _open(tmp_path) as at:
        assert at.path.stat().st_mode & 0o777 == 0o666


def test_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    with _open(folder) as at:
        assert _ask(at, "GET", "/").status == 200
        assert at.path.is_socket()
    assert list(folder.iterdir()) == []
