"""Modules' metrics: slow, huge and senseless answers cost a bounded time, and no one else any."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edge.errors import OutboxError
from edge.outbox.record import NewRecord
from edge.telemetry.scraping import Scraper, Target, fetch, metrics_record
from tests.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def _answering(answer: Callable[[socket.socket], None]) -> Iterator[Target]:
    """A module that answers each connection so."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    link, _ = listener.accept()
                    with link, contextlib.suppress(OSError):
                        link.settimeout(2)
                        link.recv(4096)
                        answer(link)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Target("digits", "127.0.0.1", listener.getsockname()[1])
        finally:
            ended.set()
            thread.join(60)


def _saying(text: bytes) -> Callable[[socket.socket], None]:
    return lambda link: link.sendall(text)


def test_the_text() -> None:
    with _answering(_saying(OK + b"a 1\nb \xff\n")) as target:
        assert fetch(target) == "a 1\nb \ufffd\n"
    with _answering(_saying(OK + b"a 1\nb 12")) as target:
        assert fetch(target) == "a 1\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00" * 1000,
        b"HTTP/1.1 500 No\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        OK + b"x" * 3_000_000,
    ],
)
def test_what_is_no_answer_is_none(answer: bytes) -> None:
    with _answering(_saying(answer)) as target:
        found = fetch(target, timeout_s=1)
        assert found is None or len(found) < 100


def test_nobody_there_is_none() -> None:
    assert fetch(Target("m", "127.0.0.1", free_port())) is None


@pytest.mark.parametrize("prefix", [b"", b"HTTP/1.1 200 OK\r\nx: ", OK])
def test_the_time_is_for_all_of_it(prefix: bytes) -> None:
    def drip(link: socket.socket) -> None:
        link.sendall(prefix)
        while True:
            link.sendall(b"a")
            time.sleep(0.05)

    with _answering(drip) as target:
        began = time.monotonic()
        assert fetch(target, timeout_s=0.4) is None
        assert time.monotonic() - began < 20


def _scraper(targets: list[Target], append: Callable[[list[NewRecord]], object]) -> Scraper:
    return Scraper(lambda: targets, append, lambda: 1.0, lambda: {"load1": 0.5})


def test_what_grew_goes_into_the_outbox() -> None:
    said = iter(range(10, 100, 5))
    found: list[NewRecord] = []
    answer = b"# TYPE n counter\nn %d\nbusy 1\n"
    with _answering(lambda link: link.sendall(OK + answer % next(said))) as target:
        scraper = _scraper([target], found.extend)
        for _ in range(3):
            scraper.step()
    mine = [json.loads(each.body) for each in found if each.source == "digits"]
    assert mine == [{"busy": 1}, {"n": 5}, {"n": 5}]
    assert [json.loads(each.body) for each in found if each.source == "host"] == [
        {"load1": 0.5}
    ] * 3
    assert {each.kind for each in found} == {"metrics"}


def test_a_module_that_says_too_much_costs_the_others_nothing() -> None:
    found: list[NewRecord] = []

    def append(records: list[NewRecord]) -> None:
        if any(len(each.body) > 60_000 for each in records):
            raise OutboxError("too large")
        found.extend(records)

    huge = "".join(f'a{{n="{"ä" * 100}{n}"}} 1\n' for n in range(300)).encode()
    with _answering(_saying(OK + huge)) as one, _answering(_saying(OK + b"b 1\n")) as other:
        _scraper([one, Target("other", "127.0.0.1", other.port)], append).step()
    assert [each.source for each in found] == ["host", "other"]


def test_a_full_outbox_ends_nothing() -> None:
    def full(records: list[NewRecord]) -> None:
        raise OutboxError("full")

    stopping = threading.Event()
    looks: list[int] = []

    def host() -> dict[str, float]:
        looks.append(1)
        stopping.set()
        return {"load1": 1.0}

    scraper = Scraper(list, full, lambda: 0.01, host)
    thread = threading.Thread(target=scraper.work, args=(stopping,))
    thread.start()
    thread.join(60)
    assert looks


def test_a_number_that_is_none_is_a_mistake_here() -> None:
    with pytest.raises(ValueError, match="JSON"):
        metrics_record("host", {"a": float("nan")})
