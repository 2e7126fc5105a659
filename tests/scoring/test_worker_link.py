"""A link whose other end is played by the test: what a worker must not do, and large bodies."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from threading import Thread

import pytest
import uvloop

from scoring.azure.channel import Channel
from scoring.errors import EngineError, RunTimeoutError, ScoringError, WorkerDiedError
from scoring.script import frames
from scoring.script.script_request import ScriptReply, ScriptRequest
from scoring.script.script_stream import HIGH_WATER_BYTES
from scoring.script.worker_link import Answers, Batch, Done, WorkerLink

HEAD = frames.ScoreRequest("POST", "/score", "", [])
REPLY = frames.Reply(200, [])


class Pool:
    """The owner of one link."""

    def __init__(self) -> None:
        self.free = 0
        self.streams = 0
        self.unread: list[tuple[Batch, Done]] = []

    def on_free(self, link: WorkerLink, *, after_stream: bool = False) -> None:
        self.free += 1
        self.streams -= after_stream

    def on_stream(self) -> None:
        self.streams += 1

    def on_lost(self, link: WorkerLink, *, in_stream: bool) -> None:
        self.streams -= in_stream

    def on_unread(self, batch: Batch, done: Done) -> None:
        self.unread.append((batch, done))


class Bench:
    """A link, its pool, and the worker's end."""

    def __init__(self, link: WorkerLink, pool: Pool, channel: Channel, sock: socket.socket) -> None:
        self.link, self.pool, self.channel, self.socket = link, pool, channel, sock

    def run(self, *bodies: bytes) -> asyncio.Future[Answers]:
        """Hand over a batch."""
        answers: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self.link.run([ScriptRequest(HEAD, body) for body in bodies], answers.set_result)
        return answers

    async def receive(self) -> tuple[frames.Message, bytes | bytearray]:
        """What the worker gets."""
        return await asyncio.to_thread(self.channel.receive)

    def say(self, message: frames.Message, body: bytes = b"") -> None:
        """What the worker answers."""
        self.channel.send(message, body)

    def leave(self) -> None:
        """The worker ends."""
        self.socket.close()


Scene = Callable[[Bench], Awaitable[None]]


async def _play(scene: Scene, limit_s: float | None) -> None:
    ours, theirs = socket.socketpair()
    pool = Pool()
    _, link = await asyncio.get_running_loop().create_unix_connection(
        partial(WorkerLink, pool, limit_s=limit_s), sock=ours
    )
    channel = Channel(theirs)
    channel.send(frames.Ready("json-string", 1, {}, []))
    assert isinstance(await link.load_message(), frames.Ready)
    try:
        async with asyncio.timeout(45):
            await scene(Bench(link, pool, channel, theirs))
    finally:
        link.close()
        await asyncio.sleep(0)
        theirs.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs a scene on either event loop."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scene: Scene, limit_s: float | None = None) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_play(scene, limit_s))

    return run


Play = Callable[..., None]


def _error(answer: ScriptReply | ScoringError) -> type:
    return type(answer)


def test_a_reply_is_the_answer_and_frees_the_worker(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        for number in range(3):
            answers = bench.run(b"body")
            assert await bench.receive() == (HEAD, b"body")
            bench.say(REPLY, b"answer")
            assert await answers == [ScriptReply(200, [], b"answer")]
            assert bench.pool.free == number + 1

    play(scene)


def test_a_batch_is_answered_in_any_order(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a", b"bb")
        assert await bench.receive() == (frames.ScoreBatch([HEAD, HEAD], [1, 2]), b"abb")
        bench.say(frames.Reply(201, [], index=1), b"second")
        bench.say(frames.Progress())
        assert not answers.done()
        bench.say(frames.Reply(200, [], index=0), b"first")
        assert [reply.body for reply in _replies(await answers)] == [b"first", b"second"]

    play(scene)


def _replies(answers: Answers) -> Sequence[ScriptReply]:
    replies = [answer for answer in answers if isinstance(answer, ScriptReply)]
    assert len(replies) == len(answers)
    return replies


@pytest.mark.slow
def test_bodies_of_64_mib_pass_both_ways(play: Play) -> None:
    body = bytes(range(256)) * (64 * 4096)

    async def scene(bench: Bench) -> None:
        answers = bench.run(body)
        _, got = await bench.receive()
        assert got == body
        del got
        sender = Thread(target=bench.say, args=(REPLY, body))
        sender.start()
        [reply] = _replies(await answers)
        sender.join()
        assert reply.body == body

    play(scene)


def test_what_was_answered_before_the_worker_died_counts(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a", b"b", b"c")
        await bench.receive()
        bench.say(frames.Reply(200, [], index=1), b"done")
        bench.leave()
        got = await answers
        assert [_error(answer) for answer in got] == [WorkerDiedError, ScriptReply, WorkerDiedError]
        assert bench.link.lost.is_set()
        assert bench.link.had == 2
        assert bench.pool.free == 0

    play(scene)


def test_a_batch_that_the_dead_worker_never_read_is_handed_back(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a")
        await asyncio.sleep(0)  # uvloop writes at the end of the round
        bench.leave()
        await bench.link.lost.wait()
        await asyncio.sleep(0)
        [(batch, done)] = bench.pool.unread
        assert [request.body for request in batch] == [b"a"]
        assert not answers.done()
        assert done == answers.set_result

    play(scene)


@pytest.mark.parametrize(
    "talk",
    [
        [(frames.Reply(200, [], index=1), b"")],
        [(frames.Reply(200, [], index=-1), b"")],
        [(frames.StreamChunk(), b"x")],
        [(frames.LoadFailed("init", "late"), b"")],
        [(HEAD, b"")],
    ],
)
def test_nonsense_is_answered_with_an_error_and_loses_the_worker(
    play: Play, talk: list[tuple[frames.Message, bytes]]
) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a")
        await bench.receive()
        for message, body in talk:
            bench.say(message, body)
        assert [_error(answer) for answer in await answers] == [WorkerDiedError]
        assert bench.link.has_hung
        assert bench.pool.free == 0

    play(scene)


def test_a_second_answer_is_never_taken_for_the_next_request(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        first = bench.run(b"a")
        await bench.receive()
        bench.say(REPLY, b"first")
        await first
        second = bench.run(b"b")
        bench.say(REPLY, b"first again")  # before it has read the next: with the old ticket
        assert [_error(answer) for answer in await second] == [WorkerDiedError]

    play(scene)


def test_an_answer_with_something_after_it_counts_but_loses_the_worker(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a")
        await bench.receive()
        bench.socket.sendall(frames.encode(REPLY, b"one", bench.channel.ticket) + b"\0")
        assert [reply.body for reply in _replies(await answers)] == [b"one"]
        assert bench.link.lost.is_set()

    play(scene)


def test_silence_for_longer_than_the_limit_is_a_timeout(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        quick = bench.run(b"quick")
        await bench.receive()
        bench.say(REPLY)
        assert _replies(await quick)
        answers = bench.run(b"a", b"b")
        assert [_error(answer) for answer in await answers] == [RunTimeoutError] * 2
        assert bench.link.has_hung

    play(scene, 0.05)


def test_a_slow_reader_of_a_stream_stops_the_worker(play: Play) -> None:
    piece = b"x" * 65536
    pieces = 200

    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a")
        await bench.receive()
        sent = 0

        def produce() -> None:
            nonlocal sent
            bench.say(frames.StreamHead(200, []))
            for _ in range(pieces):
                bench.say(frames.StreamChunk(), piece)
                sent += 1
            bench.say(frames.StreamEnd())

        producer = Thread(target=produce)
        producer.start()
        [reply] = _replies(await answers)
        assert not isinstance(reply.body, bytes)
        assert bench.pool.streams == 1
        before = -1
        while before != sent:  # until it moves no more
            before = sent
            await asyncio.sleep(0.05)
        assert sent * len(piece) < 4 * HIGH_WATER_BYTES + 2**20
        assert sum([len(chunk) async for chunk in reply.body]) == pieces * len(piece)
        producer.join()
        assert (bench.pool.streams, bench.pool.free) == (0, 1)

    play(scene)


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_a_stream_that_nobody_reads_gives_the_worker_up(play: Play, how: str) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a")
        await bench.receive()
        bench.say(frames.StreamHead(200, []))
        bench.say(frames.StreamChunk(), b"x")
        [reply] = _replies(await answers)
        if how == "closed":
            await reply.body.aclose()  # type: ignore[union-attr]
        else:
            answers = asyncio.get_running_loop().create_future()
        del reply
        await bench.link.lost.wait()
        assert not bench.link.has_hung
        assert bench.pool.streams == 0

    play(scene)


@pytest.mark.parametrize("how", ["broken", "died"])
def test_a_stream_that_breaks_off_raises_after_its_last_piece(play: Play, how: str) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a")
        await bench.receive()
        bench.say(frames.StreamHead(200, []))
        bench.say(frames.StreamChunk(), b"x")
        if how == "broken":
            bench.say(frames.StreamEnd(broken=True))
        else:
            bench.leave()
        [reply] = _replies(await answers)
        assert not isinstance(reply.body, bytes)
        chunks = aiter(reply.body)
        assert await anext(chunks) == b"x"
        with pytest.raises(EngineError):
            await anext(chunks)
        assert bench.link.lost.is_set() == (how == "died")

    play(scene)


def test_closing_answers_what_is_under_way(play: Play) -> None:
    async def scene(bench: Bench) -> None:
        answers = bench.run(b"a")
        bench.link.close()
        [error] = await answers
        assert str(error) == "the server has stopped"

    play(scene)
