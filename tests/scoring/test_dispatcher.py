"""The queue in front of an engine, with engines that live in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from scoring.dispatcher import Dispatcher
from scoring.engine import EchoEngine
from scoring.errors import EngineError, InputError, QueueFullError, ScoringError, UnavailableError


class GatedEngine:
    """Runs a batch only when the test opens the gate; remembers order and widest overlap."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.ready = True
        self.broken: str | None = None
        self.gate = asyncio.Event()
        self.order: list[int] = []
        self.under_way = self.widest = 0
        self.on_change: Callable[[], None] = lambda: None

    async def start(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change

    async def run(self, batch: Sequence[int]) -> Sequence[int | ScoringError]:
        self.order += batch
        self.under_way += 1
        self.widest = max(self.widest, self.under_way)
        await self.gate.wait()
        self.under_way -= 1
        return [InputError("thirteen") if item == 13 else item * 2 for item in batch]

    async def close(self) -> None:
        self.slots = 0


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_an_item_comes_back_from_the_engine() -> None:
    async def scenario() -> None:
        dispatcher: Dispatcher[int, int] = Dispatcher(EchoEngine(), queue_limit=1)
        await dispatcher.start()
        assert await dispatcher.submit(5) == 5

    asyncio.run(scenario())


def test_requests_run_in_order_of_arrival_and_never_wider_than_the_slots() -> None:
    async def scenario() -> None:
        engine = GatedEngine(slots=2)
        dispatcher: Dispatcher[int, int] = Dispatcher(engine, queue_limit=100)
        await dispatcher.start()
        tasks = [asyncio.create_task(dispatcher.submit(n)) for n in range(10)]
        await _settle()
        assert dispatcher.load.running == 2
        engine.gate.set()
        assert await asyncio.gather(*tasks) == [n * 2 for n in range(10)]
        assert (engine.order, engine.widest) == (list(range(10)), 2)

    asyncio.run(scenario())


def test_a_full_queue_refuses_with_a_time_and_loses_nothing() -> None:
    async def scenario() -> None:
        engine = GatedEngine()
        dispatcher: Dispatcher[int, int] = Dispatcher(engine, queue_limit=1)
        await dispatcher.start()
        running = asyncio.create_task(dispatcher.submit(1))
        await _settle()
        waiting = asyncio.create_task(dispatcher.submit(2))
        await _settle()
        with pytest.raises(QueueFullError) as refused:
            await dispatcher.submit(3)
        assert refused.value.retry_after_s > 0
        engine.gate.set()
        assert list(await asyncio.gather(running, waiting)) == [2, 4]

    asyncio.run(scenario())


def test_a_caller_that_goes_away_is_dropped_from_the_queue() -> None:
    async def scenario() -> None:
        engine = GatedEngine()
        dispatcher: Dispatcher[int, int] = Dispatcher(engine, queue_limit=10)
        await dispatcher.start()
        running = asyncio.create_task(dispatcher.submit(1))
        await _settle()
        gone = asyncio.create_task(dispatcher.submit(2))
        last = asyncio.create_task(dispatcher.submit(3))
        await _settle()
        gone.cancel()
        engine.gate.set()
        assert list(await asyncio.gather(running, last)) == [2, 6]
        assert engine.order == [1, 3]

    asyncio.run(scenario())


def test_the_error_of_one_item_is_its_own() -> None:
    async def scenario() -> None:
        engine = GatedEngine(slots=3)
        engine.gate.set()
        dispatcher: Dispatcher[int, int] = Dispatcher(engine, queue_limit=10)
        await dispatcher.start()
        answers = await asyncio.gather(
            *(dispatcher.submit(n) for n in (12, 13, 14)), return_exceptions=True
        )
        assert answers[0] == 24
        assert isinstance(answers[1], InputError)
        assert answers[2] == 28

    asyncio.run(scenario())


def test_a_broken_engine_refuses_new_and_waiting_requests_until_it_is_mended() -> None:
    async def scenario() -> None:
        engine = GatedEngine(slots=0)
        engine.gate.set()
        dispatcher: Dispatcher[int, int] = Dispatcher(engine, queue_limit=10)
        await dispatcher.start()
        waiting = asyncio.create_task(dispatcher.submit(1))
        await _settle()
        engine.broken = "no worker"
        engine.on_change()
        with pytest.raises(UnavailableError, match="no worker"):
            await waiting
        with pytest.raises(UnavailableError, match="no worker"):
            await dispatcher.submit(2)
        engine.broken, engine.slots = None, 1
        assert await dispatcher.submit(3) == 6

    asyncio.run(scenario())


def test_a_bug_in_an_engine_answers_its_request() -> None:
    class BuggyEngine(EchoEngine):
        async def run(self, batch: Sequence[object]) -> Sequence[object]:  # type: ignore[override]
            raise KeyError("a bug")

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        dispatcher: Dispatcher[object, object] = Dispatcher(BuggyEngine(), queue_limit=10)
        await dispatcher.start()
        with pytest.raises(EngineError, match="internal error: KeyError"):
            await dispatcher.submit(1)

    asyncio.run(scenario())


def test_closing_refuses_what_waits() -> None:
    async def scenario() -> None:
        engine = GatedEngine(slots=0)
        dispatcher: Dispatcher[int, int] = Dispatcher(engine, queue_limit=10)
        await dispatcher.start()
        waiting = asyncio.create_task(dispatcher.submit(1))
        await _settle()
        await dispatcher.close()
        with pytest.raises(UnavailableError):
            await waiting

    asyncio.run(scenario())
