"""What the connections of a process share: ids and dates, the supervisor's counts, the end."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import random
import re
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scoring.config import Limits, Watching
from scoring.http import front as front_module
from scoring.http.answer import Answer, text_answer
from tests.scoring.stand import Client, Stand, stand

GET = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


def _with(scenario: Callable[[Stand], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with stand(**options) as server:
            await scenario(server)

    asyncio.run(run())


def _get(*headers: bytes, path: bytes = b"/quick") -> bytes:
    return b"\r\n".join([b"GET %b HTTP/1.1" % path, b"Host: x", *headers, b"", b""])


# Ids


def test_a_request_without_ids_gets_new_ones() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        seen = set()
        for _ in range(3):
            client.send(GET)
            answer = await client.answer()
            request_id = answer.header("x-request-id")
            assert request_id is not None
            assert uuid.UUID(request_id).version == 4
            assert answer.header("x-ms-request-id") == request_id
            assert answer.header("x-ms-client-request-id") is None
            seen.add(request_id)
        assert len(seen) == 3

    _with(scenario)


def test_the_clients_ids_come_back() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(_get(b"X-Request-Id: r", b"x-ms-client-request-id: c", b"TraceId: t"))
        answer = await client.answer()
        names = ("x-request-id", "x-ms-request-id", "x-ms-client-request-id", "traceid")
        assert [answer.header(name) for name in names] == ["r", "c", "c", "t"]
        client.send(GET)
        assert (await client.answer()).header("traceid") is None, "of that request only"

    _with(scenario)


def test_an_id_that_is_too_long_is_refused_without_its_echo() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(_get(b"x-request-id: " + b"r" * 101) + GET)
        refused = await client.answer()
        assert refused.status == 431
        assert refused.header("x-request-id") is None
        assert (await client.answer()).status == 200

    _with(scenario)


def test_ids_that_an_answer_brings_are_not_sent_beside_ours() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        for headers in ([], [b"x-request-id: mine"]):
            client.send(_get(*headers, path=b"/slow"))
            call = await server.site.slow.next()
            call.reply(Answer(200, (("X-Request-Id", "script"), ("X-Other", "1")), b""))
            answer = await client.answer()
            assert answer.header("x-request-id") not in (None, "script")
            assert answer.header("x-other") == "1"

    _with(scenario)


# Heads


def test_answers_carry_the_date_and_the_servers_version() -> None:
    async def scenario(server: Stand) -> None:
        server.site.server_version = "azmlinfsrv/1"
        client = await server.connect()
        for path in (b"/quick", b"/else"):
            client.send(_get(path=path))
            date = (await client.answer()).header("date")
            assert date is not None
            age_s = abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time())
            assert age_s < 60
        client.send(GET)
        assert (await client.answer()).header("x-ms-server-version") == "azmlinfsrv/1"

    _with(scenario)


def test_the_date_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Stand) -> None:
        monkeypatch.setattr(time, "time", lambda: 784111777.5)
        monkeypatch.setattr(front_module, "SWEEP_S", 0.001)
        server.front.start()
        client = await server.connect()
        while server.front.date_line != b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n":
            await asyncio.sleep(0.001)
        client.send(GET)
        assert (await client.answer()).header("date") == "Sun, 06 Nov 1994 08:49:37 GMT"
        server.front.stop()
        server.front.stop()

    _with(scenario)


def test_cors_is_added_where_it_was_asked_for() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(_get(b"Origin: http://a.example"))
        answer = await client.answer()
        assert answer.header("access-control-allow-origin") == "http://a.example"
        assert answer.header("x-request-id")

    _with(scenario, cors_origins="http://a.example")


def test_every_answer_is_counted_by_its_route() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(GET + _get(path=b"/quick?bug=1") + _get(path=b"/quick?bug"))
        for _ in range(3):
            await client.answer()
        client.send(b"nonsense\r\n\r\n")
        await client.answer()
        expected = [("/quick", 200), ("/quick", 200), ("/quick", 500), ("other", 400)]
        assert server.counts.answers == expected

    _with(scenario)


def test_the_access_log_has_one_line_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(_get(path=b"/quick?a=%0Ab"))
        await client.answer()
        server.site.match = lambda method, path: server.site.slow  # type: ignore[method-assign]
        client.send(_get(path=b"/sl%0Aow"))
        (await server.site.slow.next()).reply(text_answer("done"))
        await client.answer()

    with caplog.at_level(logging.INFO, "azmlinfsrv"):
        _with(scenario, watching=Watching(access_log="text"))
    lines = [re.sub(r"[\d.]+ms", "?ms", record.getMessage()) for record in caplog.records]
    assert lines == ["GET /quick?a=%0Ab 200 ?ms 1", r"GET /sl\now 200 ?ms 4"]


# What the supervisor sees


@pytest.mark.parametrize("seed", range(4))
def test_the_supervisors_counts_are_exact(seed: int) -> None:
    """By them it tells which connections of a process that died can go on elsewhere."""
    numbers = random.Random(seed)
    post = b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    kinds = [GET, _get(path=b"/else"), _get(b"x-request-id: 1"), _get(path=b"/loud")]
    kinds += [post + b"123456789"]

    async def scenario(server: Stand) -> None:
        clients = [await server.connect() for _ in range(3)]
        for _ in range(15):
            client = numbers.choice(clients)
            requests = [numbers.choice(kinds) for _ in range(numbers.randint(1, 4))]
            data = b"".join(requests)
            cut = numbers.randrange(len(data))
            client.send(data[:cut])
            await server.settle()
            client.send(data[cut:])
            for _ in requests:
                while (await client.answer()).status == 100:
                    pass
            await server.settle()
            assert server.link.busy == set(), "everything is answered"
            assert server.link.received_bytes == sum(c.sent_bytes for c in clients)
            assert server.link.written_bytes == sum(c.read_bytes for c in clients)

    _with(scenario)


def test_a_connection_is_busy_from_its_first_byte_to_its_last_answer() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        busy = []
        for data in (SLOW[:3], SLOW[3:] + GET[:5]):
            client.send(data)
            await server.settle()
            busy.append(set(server.link.busy))
        (await server.site.slow.next()).reply(text_answer("done"))
        await client.answer()
        busy.append(set(server.link.busy))
        client.send(GET[5:])
        await client.answer()
        assert busy == [{0}, {0}, {0}], "a part of the next request has come"
        assert server.link.busy == set()
        client.close()
        while not server.link.ended:
            await asyncio.sleep(0)
        assert server.link.ended == [("closed", 0)]

    _with(scenario)


async def _adopt(server: Stand) -> tuple[Client, socket.socket]:
    """A connection of which the supervisor has a hold as well."""
    ours, theirs = socket.socketpair()
    held = ours.dup()
    loop = asyncio.get_running_loop()
    ours.setblocking(False)
    await loop.connect_accepted_socket(server.protocol, ours)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    client = Client(reader, writer)
    server.clients.append(client)
    return client, held


def test_idle_connections_are_given_back_and_live_on() -> None:
    async def scenario(server: Stand) -> None:
        adopted = [await _adopt(server) for _ in range(4)]
        for client, _ in adopted[1:]:
            client.send(GET)
            await client.answer()
        adopted[3][0].send(SLOW)
        call = await server.site.slow.next()
        server.front.give_back(2)
        await server.settle()
        assert [kind for kind, _ in server.link.ended] == ["released"] * 2
        assert 3 not in {slot for _, slot in server.link.ended}, "it is busy"
        states = [server.front.is_releasing]
        slot = server.link.ended[0][1]
        client, held = adopted[slot]
        assert not client.reader.at_eof(), "the supervisor has a hold of it yet"
        server.front.give_back(2)
        await server.settle()
        assert len(server.link.ended) == 3
        states.append(server.front.is_releasing)
        call.reply(text_answer("done"))
        assert (await adopted[3][0].answer()).body == b"done"
        await server.settle()
        assert server.link.ended[3] == ("released", 3)
        states.append(server.front.is_releasing)
        assert states == [False, True, False], "one more, as soon as it was idle"
        assert not server.front.connections
        for _, held in adopted:
            held.close()
        assert await client.rest() == b""

    _with(scenario)


def test_a_retired_process_gives_everything_back_when_it_is_idle() -> None:
    async def scenario(server: Stand) -> None:
        adopted = [await _adopt(server) for _ in range(3)]
        adopted[1][0].send(SLOW + GET[:7])
        call = await server.site.slow.next()
        server.front.retire()
        await server.settle()
        assert sorted(slot for _, slot in server.link.ended) == [0, 2]
        call.reply(text_answer("done"))
        answer = await adopted[1][0].answer()
        assert answer.header("connection") is None, "it goes on elsewhere"
        await server.settle()
        assert len(server.link.ended) == 2, "a part of its next request is here"
        adopted[1][0].send(GET[7:])
        await adopted[1][0].answer()
        await server.settle()
        assert sorted(slot for _, slot in server.link.ended) == [0, 1, 2]
        assert {kind for kind, _ in server.link.ended} == {"released"}
        for _, held in adopted:
            held.close()

    _with(scenario)


# The end


def test_a_stopping_server_answers_what_comes_and_closes_what_is_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(server: Stand) -> None:
        monkeypatch.setattr(front_module, "SWEEP_S", 0.001)
        front = server.front
        front.start()
        unused, idle, late, busy = [await server.connect() for _ in range(4)]
        for client in (idle, late):
            client.send(GET)
            await client.answer()
        busy.send(SLOW)
        call = await server.site.slow.next()
        draining = asyncio.create_task(front.drain(server.seconds + 30))
        late.send(GET)
        answer = await late.answer()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert await late.rest() == b""
        assert len(front.connections) == 3, "a request may be on its way"
        server.seconds += front_module.QUIET_S + 0.1
        assert await idle.rest() == b""
        assert await unused.rest() == b""
        server.seconds += 20
        call.reply(text_answer("done"))
        answer = await busy.answer()
        assert (answer.body, answer.header("connection")) == (b"done", "close")
        await asyncio.wait_for(draining, 30)
        assert not front.connections
        front.stop()

    _with(scenario)


def test_what_is_not_done_in_time_is_cut() -> None:
    async def scenario(server: Stand) -> None:
        client = await server.connect()
        client.send(SLOW)
        call = await server.site.slow.next()
        draining = asyncio.create_task(server.front.drain(server.seconds + 30))
        await server.settle()
        assert not draining.done()
        server.seconds += 31
        await asyncio.wait_for(draining, 30)
        assert await client.rest() == b""
        assert server.site.slow.queue.dropped == [call.work]

    _with(scenario)


def test_the_sweep_ends_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(server: Stand) -> None:
        monkeypatch.setattr(front_module, "SWEEP_S", 0.001)
        server.front.start()
        client = await server.connect()
        client.send(GET)
        await client.answer()
        server.seconds += 11
        assert await client.rest() == b""
        server.front.stop()

    _with(scenario, limits=Limits(idle_s=10))
