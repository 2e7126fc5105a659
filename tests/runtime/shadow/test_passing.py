"""The mirror's process between two sockets: bytes come out as they went in, and nothing waits for a
shadow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.shadow.counts import Counts
from runtime.shadow.reading import read_counts
from tests.runtime.balance.load import wait_until
from tests.runtime.shadow.processes import (
    connected,
    mirror,
    read_request,
    received,
    serving,
    short_folder,
)
from tests.runtime.shadow.watched import answer, request

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each byte with itself."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def primary(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its body."""
    while True:
        _, body = await read_request(reader)
        writer.write(answer(body))
        await writer.drain()


def counted(folder: Path, shadow: str = "r2") -> Counts:
    return read_counts(folder, "a").get(shadow) or Counts("")


HOSTILE = [
    b"\x00\xff" * 1000,
    b"GET / HTTP/1.0\r\n\r\n",
    b"HEAD /score HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /score HTTP/1.1\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    b"POST /score HTTP/1.1\r\ninferry-copy: r2\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    b"POST /score HTTP/1.1\r\ninferry-copy: r2\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x05hello",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    b"GET /inferry-mirro HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("pieces", [1, 7])
def test_bytes_come_through_whatever_they_are(folder: Path, pieces: int) -> None:
    with serving(folder / "a.direct.sock", echo), mirror(folder):
        for data in (*HOSTILE, random.randbytes(3_000_000)):
            with connected(folder / "a.mirror.sock") as link:
                size = max(1, len(data) // pieces) if len(data) < 1_000_000 else 50_000
                for at in range(0, len(data), size):
                    link.sendall(data[at : at + size])
                    assert received(link, len(data[at : at + size])) == data[at : at + size]


def test_a_check_is_answered_without_anybody(folder: Path) -> None:
    with mirror(folder), connected(folder / "a.mirror.sock") as link:
        link.sendall(b"GET /inferry-mirror HTTP/1.1\r\nHost: inferry\r\n\r\n")
        assert received(link).startswith(b"HTTP/1.1 200 OK\r\n")


def test_without_a_primary_it_says_so_in_time(folder: Path) -> None:
    with mirror(folder), connected(folder / "a.mirror.sock") as link:
        link.sendall(request())
        said = received(link)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"no replica can be reached" in said


def test_a_primary_that_comes_a_moment_later_is_reached(folder: Path) -> None:
    with mirror(folder), connected(folder / "a.mirror.sock") as link:
        link.sendall(request(b"[7]"))
        with serving(folder / "a.direct.sock", primary):
            assert received(link, len(answer(b"[7]"))) == answer(b"[7]")


def test_a_copy_goes_to_the_shadow_and_is_compared(folder: Path) -> None:
    heads: list[bytes] = []

    async def shadow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            heads.append(head)
            writer.write(answer(b"[9]" if body == b"[3]" else body))

    with (
        serving(folder / "a.direct.sock", primary),
        serving(folder / "a.copies.sock", shadow),
        mirror(folder),
        connected(folder / "a.mirror.sock") as link,
    ):
        for number in range(20):
            body = b"[%d]" % number
            link.sendall(request(body, more="X-Deadline-Ms: 50\r\nConnection: keep-alive\r\n"))
            assert received(link, len(answer(body))) == answer(body)
        wait_until(lambda: counted(folder).copied == 20)
        found = counted(folder)
        assert (found.equal, found.different, found.largest) == (19, 1, 6.0)
        assert found.differences[0].shadow == "[9]"
        (first, *_) = heads
        assert first.startswith(b"POST /score?a=b HTTP/1.1\r\n")
        assert b"X-Deadline-Ms: 50\r\n" in first
        assert first.lower().count(b"inferry-copy: r2\r\n") == 1
        assert b"connection:" not in first.lower()


def test_nobody_waits_for_a_shadow_that_does_not_answer(folder: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with (
        serving(folder / "a.direct.sock", primary),
        serving(folder / "a.copies.sock", silent),
        mirror(folder),
        connected(folder / "a.mirror.sock") as link,
    ):
        for _ in range(700):
            link.sendall(request())
            assert received(link, len(answer(b"[1]"))) == answer(b"[1]")
        wait_until(lambda: counted(folder).dropped.get("full", 0) == 700 - 512)
        assert counted(folder).copied == 0


def test_a_shadow_that_is_not_there_is_counted(folder: Path) -> None:
    async def absent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        more = "inferry-no-shadow: 1\r\n"
        writer.write(answer(status="503 Service Unavailable", more=more))

    with serving(folder / "a.direct.sock", primary), mirror(folder):
        with connected(folder / "a.mirror.sock") as link:
            link.sendall(request())
            received(link, len(answer(b"[1]")))
            wait_until(lambda: counted(folder).failed == 1)  # nobody is at the socket
            with serving(folder / "a.copies.sock", absent):
                link.sendall(request())
                received(link, len(answer(b"[1]")))
                wait_until(lambda: counted(folder).dropped.get("absent") == 1)
        assert "cannot be reached" in counted(folder).last_failure


def test_who_goes_away_is_gone_for_the_primary_too(folder: Path) -> None:
    ended: list[bytes] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        ended.append(await reader.read())

    with serving(folder / "a.direct.sock", slow), mirror(folder):
        with connected(folder / "a.mirror.sock") as link:
            link.sendall(request())
        wait_until(lambda: ended == [b""])
        wait_until(lambda: counted(folder).dropped.get("broken") == 1)


def test_an_answer_before_the_end_of_a_request_comes_through(folder: Path) -> None:
    refusal = answer(b"too large", status="413 Content Too Large", more="Connection: close\r\n")

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal)

    with (
        serving(folder / "a.direct.sock", refusing),
        mirror(folder),
        connected(folder / "a.mirror.sock") as link,
    ):
        link.sendall(request(b"x" * 100_000_000)[:200])
        assert received(link) == refusal


def test_a_body_of_100_megabytes_passes_and_is_not_kept(folder: Path) -> None:
    size = 100_000_000

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            left -= len(await reader.read(min(left, 1 << 20)))
        writer.write(answer(b"done"))

    with serving(folder / "a.direct.sock", counting), mirror(folder) as mirrors:
        with connected(folder / "a.mirror.sock") as link:
            link.sendall(request(b"x" * size)[:-size])
            piece = bytes(1 << 20)
            for at in range(0, size, len(piece)):
                link.sendall(piece[: size - at])
            assert received(link, len(answer(b"done"))) == answer(b"done")
        wait_until(lambda: counted(folder).dropped.get("large") == 1)
        pid = mirrors.pid("a")
        peak = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        assert int(peak) < 100_000  # KiB


def test_a_client_that_reads_slowly_holds_the_primary_not_the_memory(folder: Path) -> None:
    size = 100_000_000

    async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(b"")[:-5] + b": %d\r\n\r\n" % size)
        for _ in range(size // 1_000_000):
            writer.write(bytes(1_000_000))
            await writer.drain()

    with (
        serving(folder / "a.direct.sock", talking),
        mirror(folder) as mirrors,
        connected(folder / "a.mirror.sock") as link,
    ):
        link.sendall(request())
        assert len(received(link, 1_000_000)) == 1_000_000
        pid = mirrors.pid("a")
        peak = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        assert int(peak) < 100_000  # KiB


def test_a_primary_that_does_not_read_holds_the_client(folder: Path) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    with (
        serving(folder / "a.direct.sock", deaf),
        mirror(folder),
        connected(folder / "a.mirror.sock") as link,
    ):
        link.setblocking(False)
        sent, piece = 0, bytes(200_000)
        while select.select([], [link], [], 1.0)[1]:
            sent += link.send(piece)
            assert sent < 10_000_000


def test_the_comparer_may_die_and_what_it_had_is_counted_as_lost(folder: Path) -> None:
    held = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()

    with (
        serving(folder / "a.direct.sock", primary),
        mirror(folder) as mirrors,
        connected(folder / "a.mirror.sock") as link,
    ):
        with serving(folder / "a.copies.sock", silent):
            wait_until(lambda: len(children(mirrors.pid("a"))) == 1)
            wait_until(lambda: (folder / "a.shadow.sock").exists())
            for _ in range(10):
                link.sendall(request())
                received(link, len(answer(b"[1]")))
            (child,) = children(mirrors.pid("a"))
            os.kill(child, signal.SIGKILL)
            link.sendall(request())
            assert received(link, len(answer(b"[1]"))) == answer(b"[1]")
            wait_until(lambda: sum(counted(folder).dropped.values()) >= 10)
        with serving(folder / "a.copies.sock", primary):
            before = counted(folder)
            link.sendall(request())
            received(link, len(answer(b"[1]")))
            wait_until(lambda: counted(folder).equal > before.equal)


def test_the_counts_go_on_after_the_mirror_was_killed(folder: Path) -> None:
    with serving(folder / "a.direct.sock", primary), serving(folder / "a.copies.sock", primary):
        told: list[str] = []
        with mirror(folder, told) as mirrors:
            with connected(folder / "a.mirror.sock") as link:
                link.sendall(request())
                received(link, len(answer(b"[1]")))
            wait_until(lambda: counted(folder).equal == 1)
            before = mirrors.pid("a")
            assert before is not None
            os.kill(before, signal.SIGKILL)

            def is_back() -> bool:
                mirrors.keep({"a"})
                return mirrors.pid("a") not in (before, None)

            wait_until(is_back)
            assert any("ended; it is started again" in line for line in told)
            wait_until(lambda: asked(folder) == answer(b"[1]"))
            wait_until(lambda: counted(folder).equal == 2)


def asked(folder: Path) -> bytes:
    try:
        link = connected(folder / "a.mirror.sock")
    except OSError:
        return b""
    with link:
        link.sendall(request())
        return received(link, len(answer(b"[1]")))


def children(pid: int | None) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in text.split()]


def test_nobody_outside_reaches_it(folder: Path) -> None:
    with mirror(folder) as mirrors:
        wait_until(lambda: (folder / "a.shadow.sock").exists())
        assert folder.stat().st_mode & 0o077 == 0
        pid = mirrors.pid("a")
        open_sockets = set()
        for each in (pid, *children(pid)):
            for descriptor in Path(f"/proc/{each}/fd").iterdir():
                with contextlib.suppress(OSError):
                    open_sockets.add(os.readlink(descriptor))
        assert any(name.startswith("socket:") for name in open_sockets)
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                assert f"socket:[{line.split()[9]}]" not in open_sockets


def test_it_is_told_to_end_and_ends_once_idle(folder: Path) -> None:
    with serving(folder / "a.direct.sock", primary), mirror(folder) as mirrors:
        link = connected(folder / "a.mirror.sock")
        with link:
            link.sendall(request())
            received(link, len(answer(b"[1]")))
            mirrors.end_others(())
            assert mirrors.pid("a") is None
            # One that has come already is served on.
            link.sendall(request())
            assert received(link, len(answer(b"[1]"))) == answer(b"[1]")

        def is_gone() -> bool:
            mirrors.end_others(())
            return not [path for path in folder.glob("a.*") if "direct" not in path.name]

        wait_until(is_gone)
