"""The models of one server process: which there are, which are loaded, which a request means."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from scoring.errors import ModelNotReadyError, ScoringError, UnknownModelError

MAX_DIGITS = 18
"""Of a version; int() itself refuses some thousand."""


class Startable(Protocol):
    """What a repository needs of a service."""

    @property
    def dispatcher(self) -> Any:
        """Has ``start`` and ``close``."""

    @property
    def engine(self) -> Any:
        """Has ``ready``."""


Service = TypeVar("Service", bound=Startable)


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of the index."""

    name: str
    version: int
    is_ready: bool
    reason: str = ""


class ModelRepository(Generic[Service]):
    """Services by model name and version, made by ``makers`` when they are loaded."""

    def __init__(
        self,
        makers: Mapping[tuple[str, int], Callable[[], Service]],
        *,
        is_exclusive: bool = False,
    ) -> None:
        self._makers = dict(makers)
        self._is_exclusive = is_exclusive
        self._loaded: dict[tuple[str, int], Service] = {}
        self._reasons: dict[tuple[str, int], str] = {}
        self._changing = asyncio.Lock()
        self.main_key = next(iter(self._makers))
        self.main: Service | None = None
        """What /score asks, unless it was unloaded."""
        self.on_change: Callable[[], None] = _nothing
        """Called when an engine's slots, readiness or breakage may have changed, from the end of
        its loading on."""

    @property
    def services(self) -> list[Service]:
        """All that are loaded."""
        return list(self._loaded.values())

    @property
    def is_ready(self) -> bool:
        """Whether any model can answer."""
        return any(service.engine.ready for service in self._loaded.values())

    @property
    def trouble(self) -> str | None:
        """Why a loaded model cannot answer."""
        found = (getattr(service.engine, "trouble", None) for service in self._loaded.values())
        return next(filter(None, found), None)

    def find(self, name: str, version: str | None = None) -> Service:
        """The loaded service of a model: of its newest loaded version unless one is named, and if
        there is a choice, of one that is ready.

        Raises UnknownModelError and ModelNotReadyError."""
        versions = self.versions(name)
        if version is not None:
            is_number = version.isascii() and version.isdigit() and len(version) <= MAX_DIGITS
            if not is_number or int(version) not in versions:
                raise UnknownModelError(name, version)
            versions = [int(version)]
        lost: Service | None = None
        for number in reversed(versions):
            service = self._loaded.get((name, number))
            if service is None:
                continue
            if service.engine.ready:
                return service
            if getattr(service.engine, "is_loaded", False):
                lost = lost or service
        if lost is not None:  # it is expected back; who asks it waits, or is told
            return lost
        raise ModelNotReadyError(name, version)

    def versions(self, name: str) -> list[int]:
        """All versions of a model, loaded or not. Raises UnknownModelError."""
        found = sorted(number for known, number in self._makers if known == name)
        if not found:
            raise UnknownModelError(name)
        return found

    def index(self) -> list[Listing]:
        """Every model and version, with why it is not ready."""
        return [self._listing(key) for key in self._makers]

    def _listing(self, key: tuple[str, int]) -> Listing:
        service = self._loaded.get(key)
        trouble = None if service is None else getattr(service.engine, "trouble", None)
        is_ready = service is not None and trouble is None
        return Listing(*key, is_ready, trouble or self._reasons.get(key, ""))

    async def start(self) -> None:
        """Load everything. Raises what loading raises."""
        async with self._changing:
            for key in self._makers:
                await self._load(key)

    async def load(self, name: str) -> None:
        """Load all versions of a model, anew if they are loaded. Raises UnknownModelError and
        ModelLoadError; what was loaded then stays, unless only one process can have it: then it had
        to go before."""
        async with self._changing:
            for number in self.versions(name):
                await self._load((name, number))

    async def unload(self, name: str) -> None:
        """Unload all versions. Raises UnknownModelError."""
        async with self._changing:
            for number in self.versions(name):
                await self._give_up((name, number))

    async def close(self) -> None:
        """Stop everything."""
        for service in self.services:
            await service.dispatcher.close()
        self._loaded.clear()
        self.main = None

    async def _load(self, key: tuple[str, int]) -> None:
        if self._is_exclusive:
            await self._give_up(key)
        service = self._makers[key]()
        try:
            await service.dispatcher.start()
        except Exception as error:
            if key not in self._loaded:
                self._reasons[key] = str(error) if isinstance(error, ScoringError) else "it failed"
            with contextlib.suppress(ScoringError):
                await service.dispatcher.close()
            raise
        before = self._loaded.get(key)
        self._loaded[key] = service
        if key == self.main_key:
            self.main = service
        service.dispatcher.on_change = lambda: self.on_change()
        self.on_change()
        self._reasons.pop(key, None)
        if before is not None:
            await self._finish(before)

    async def _give_up(self, key: tuple[str, int]) -> None:
        service = self._loaded.pop(key, None)
        if key == self.main_key:
            self.main = None
        self._reasons[key] = "unloaded"
        if service is not None:
            await self._finish(service)

    async def _finish(self, service: Service) -> None:
        """What was let in is answered before the engine goes."""
        while service.dispatcher.in_flight:
            await asyncio.sleep(0.005)
        await service.dispatcher.close()


def _nothing() -> None:
    """Nobody wants to know."""
