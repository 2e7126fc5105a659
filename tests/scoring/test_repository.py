"""Models by name and version: which one a request means, and loading while requests go on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from scoring.errors import ModelLoadError, ModelNotReadyError, ScoringError, UnknownModelError
from scoring.repository import Listing, ModelRepository


class FakeService:
    """Is its own engine and dispatcher."""

    def __init__(self, number: int, error: ScoringError | None = None) -> None:
        self.number = number
        self.ready = False
        self.is_closed = False
        self.in_flight = 0
        self._error = error

    def __repr__(self) -> str:
        return f"<FakeService {self.number}>"

    @property
    def dispatcher(self) -> FakeService:
        return self

    @property
    def engine(self) -> FakeService:
        return self

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self._error is not None:
            raise self._error
        self.ready = True

    async def close(self) -> None:
        self.ready = False
        self.is_closed = True


class Shop:
    """Makes services, the next one with ``error`` if that is set."""

    def __init__(self, *keys: tuple[str, int]) -> None:
        self.made: list[FakeService] = []
        self.error: ScoringError | None = None
        self.repository: ModelRepository[FakeService] = ModelRepository(
            dict.fromkeys(keys, self._make)
        )

    def _make(self) -> FakeService:
        self.made.append(FakeService(len(self.made), self.error))
        return self.made[-1]


def _run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_the_newest_loaded_version_answers_unless_one_is_named() -> None:
    async def scenario() -> None:
        shop = Shop(("m", 2), ("m", 10), ("other", 1))
        repository = shop.repository
        assert (repository.main, repository.is_ready) == (None, False)
        with pytest.raises(ModelNotReadyError):
            repository.find("m")
        await repository.start()
        assert repository.is_ready
        assert repository.main is shop.made[0], "the first one, of whatever version"
        assert repository.find("m") is shop.made[1]
        assert repository.find("m", "2") is shop.made[0]
        assert repository.find("m", "002") is shop.made[0]
        assert repository.versions("m") == [2, 10]
        shop.made[1].ready = False
        assert repository.find("m") is shop.made[0]
        with pytest.raises(ModelNotReadyError):
            repository.find("m", "10")

    _run(scenario())


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("none", None),
        ("m", "3"),
        ("m", "x"),
        ("m", ""),
        ("m", "-1"),
        ("m", "\uff11"),
        pytest.param("m", "9" * 10_000, id="m-many digits"),
    ],
)
def test_what_is_not_there_is_unknown(name: str, version: str | None) -> None:
    async def scenario() -> None:
        shop = Shop(("m", 1))
        await shop.repository.start()
        with pytest.raises(UnknownModelError) as caught:
            shop.repository.find(name, version)
        assert len(str(caught.value)) < 200

    _run(scenario())


def test_a_model_that_does_not_load_stops_the_start() -> None:
    async def scenario() -> None:
        shop = Shop(("m", 1))
        shop.error = ModelLoadError("no model")
        with pytest.raises(ModelLoadError):
            await shop.repository.start()
        assert shop.made[0].is_closed
        assert shop.repository.index() == [Listing("m", 1, False, "no model")]

    _run(scenario())


def test_loading_anew_swaps_and_lets_the_old_one_finish() -> None:
    async def scenario() -> None:
        shop = Shop(("m", 1))
        await shop.repository.start()
        old = shop.made[0]
        old.in_flight = 1
        loading = asyncio.create_task(shop.repository.load("m"))
        while shop.repository.find("m") is old:
            await asyncio.sleep(0)
        was_closed = old.is_closed
        assert shop.repository.find("m") is shop.made[1]
        old.in_flight = 0
        await loading
        assert (was_closed, old.is_closed) == (False, True), "it had a request yet"
        assert not shop.made[1].is_closed

    _run(scenario())


def test_what_was_loaded_stays_when_loading_anew_fails() -> None:
    async def scenario() -> None:
        shop = Shop(("m", 1))
        await shop.repository.start()
        shop.error = ModelLoadError("no model")
        with pytest.raises(ModelLoadError):
            await shop.repository.load("m")
        assert shop.repository.find("m") is shop.made[0]
        assert shop.made[1].is_closed
        assert shop.repository.index() == [Listing("m", 1, True)]

    _run(scenario())


def test_an_unloaded_model_is_not_ready_and_can_come_back() -> None:
    async def scenario() -> None:
        shop = Shop(("m", 1), ("m", 2), ("other", 1))
        repository = shop.repository
        await repository.start()
        await repository.unload("m")
        assert [service.is_closed for service in shop.made] == [True, True, False]
        with pytest.raises(ModelNotReadyError):
            repository.find("m")
        assert repository.main is None
        assert repository.is_ready
        assert repository.index()[0] == Listing("m", 1, False, "unloaded")
        shop.error = ModelLoadError("no model")
        with pytest.raises(ModelLoadError):
            await repository.load("m")
        assert repository.index()[0] == Listing("m", 1, False, "no model"), "the latest reason"
        shop.error = None
        await repository.load("m")
        assert repository.find("m") is shop.made[-1]
        assert repository.index()[0] == Listing("m", 1, True)
        with pytest.raises(UnknownModelError):
            await repository.load("none")
        with pytest.raises(UnknownModelError):
            await repository.unload("none")

    _run(scenario())


def test_two_that_load_at_a_time_take_turns() -> None:
    async def scenario() -> None:
        shop = Shop(("m", 1))
        await shop.repository.start()
        await asyncio.gather(shop.repository.load("m"), shop.repository.load("m"))
        assert [service.is_closed for service in shop.made] == [True, True, False]
        assert shop.repository.main is shop.made[2]

    _run(scenario())


def test_closing_stops_everything() -> None:
    async def scenario() -> None:
        shop = Shop(("m", 1), ("n", 1))
        await shop.repository.start()
        await shop.repository.close()
        assert all(service.is_closed for service in shop.made)
        assert not shop.repository.services

    _run(scenario())
