"""Copies to shadows that answer in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.shadow.asking import MOST_ANSWER_BYTES, Asking, NoAnswerError, written
from runtime.shadow.records import Answer
from tests.runtime.shadow.processes import Serve, read_request, serving, short_folder
from tests.runtime.shadow.watched import answer, exchange


@pytest.fixture
def socket() -> Iterator[Path]:
    with short_folder() as path:
        yield path / "a.sock"


def asked(socket: Path, serve: Serve, times: int = 1, timeout_s: float = 10) -> list[Answer]:
    async def run() -> list[Answer]:
        asking = Asking(str(socket))
        try:
            return [await asking.ask("r2", exchange(), timeout_s) for _ in range(times)]
        finally:
            asking.close()
            await asyncio.sleep(0.01)

    with serving(socket, serve):
        return asyncio.run(run())


def saying(*parts: bytes) -> Serve:
    """One answer to one request, in these pieces; then the connection ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()

    return serve


def test_a_copy_is_in_one_piece_and_says_for_whom_it_is() -> None:
    one = exchange(b"abc")
    one.headers.extend(
        [
            (b"Transfer-Encoding", b"chunked"),
            (b"Connection", b"close"),
            (b"Inferry-Copy", b"r9"),
            (b"Expect", b"100-continue"),
            (b"Content-Length", b"7"),
            (b"X-Own", b"\xe9"),
        ]
    )
    assert written("r2", one) == (
        b"POST /score HTTP/1.1\r\nContent-Type: application/json\r\nX-Own: \xe9\r\n"
        b"inferry-copy: r2\r\ncontent-length: 3\r\n\r\nabc"
    )


def test_connections_are_used_again_and_closed_ones_are_not_missed(socket: Path) -> None:
    links: list[int] = []

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.append(1)
        for _ in range(2):
            await read_request(reader)
            writer.write(answer(b"[5]"))

    found = asked(socket, twice, times=6)
    assert [one.body for one in found] == [b"[5]"] * 6
    assert 3 <= len(links) <= 4


def test_pieces_interim_answers_and_chunks_are_read(socket: Path) -> None:
    said = (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-",
        b"Encoding: chunked\r\nX-A: b\r\n\r\n2\r\nab\r\n",
        b"1\r\nc\r\n0\r\n\r\n",
    )
    (found,) = asked(socket, saying(*said))
    assert (found.status, found.body, found.header(b"x-a")) == (200, b"abc", b"b")
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (saying(), "broke before"),
        (saying(answer(b"abc")[:-1]), "broke in"),
        (saying(b"no HTTP at all\r\n\r\n"), "no HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "no HTTP"),
        (
            saying(b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            "no HTTP|broke in",
        ),
        (saying(answer(b"x" * (MOST_ANSWER_BYTES + 1))), "too large"),
    ],
)
def test_what_is_no_answer_is_a_failure(socket: Path, serve: Serve, why: str) -> None:
    with pytest.raises(NoAnswerError, match=why):
        asked(socket, serve)


def test_one_that_does_not_answer_in_time_has_failed(socket: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.raises(NoAnswerError, match=r"within 0\.05 s"):
        asked(socket, silent, timeout_s=0.05)


def test_nobody_there_is_a_failure_and_no_replica_is_said_so(socket: Path) -> None:
    async def run() -> None:
        await Asking(str(socket)).ask("r2", exchange(), 1)

    with pytest.raises(NoAnswerError, match="cannot be reached"):
        asyncio.run(run())
    absent = answer(status="503 Service Unavailable", more="Inferry-No-Shadow: 1\r\n")
    with pytest.raises(NoAnswerError) as found:
        asked(socket, saying(absent))
    assert found.value.is_absent
