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

    def __init__(self, makers: Mapping[tuple[str, int], Callable[[], Service]]) -> None:
        self._makers = dict(makers)
        self._loaded: dict[tuple[str, int], Service] = {}
        self._reasons: dict[tuple[str, int], str] = {}
        self._changing = asyncio.Lock()
        self.main_key = next(iter(self._makers))
        self.main: Service | None = None
        """What /score asks, unless it was unloaded."""

    @property
    def services(self) -> list[Service]:
        """All that are loaded."""
        return list(self._loaded.values())

    @property
    def is_ready(self) -> bool:
        """Whether any model can answer."""
        return any(service.engine.ready for service in self._loaded.values())

    def find(self, name: str, version: str | None = None) -> Service:
        """The loaded service of a model: of its newest loaded version unless one is named.

        Raises UnknownModelError and ModelNotReadyError."""
        versions = self.versions(name)
        if version is not None:
            is_number = version.isascii() and version.isdigit() and len(version) <= MAX_DIGITS
            if not is_number or int(version) not in versions:
                raise UnknownModelError(name, version)
            versions = [int(version)]
        for number in reversed(versions):
            service = self._loaded.get((name, number))
            if service is not None and service.engine.ready:
                return service
        raise ModelNotReadyError(name, version)

    def versions(self, name: str) -> list[int]:
        """All versions of a model, loaded or not. Raises UnknownModelError."""
        found = sorted(number for known, number in self._makers if known == name)
        if not found:
            raise UnknownModelError(name)
        return found

    def index(self) -> list[Listing]:
        """Every model and version, with why it is not ready."""
        return [
            Listing(*key, key in self._loaded, self._reasons.get(key, "")) for key in self._makers
        ]

    async def start(self) -> None:
        """Load everything. Raises what loading raises."""
        async with self._changing:
            for key in self._makers:
                await self._load(key)

    async def load(self, name: str) -> None:
        """Load all versions of a model, anew if they are loaded. Raises UnknownModelError and
        ModelLoadError; what was loaded then stays."""
        async with self._changing:
            for number in self.versions(name):
                await self._load((name, number))

    async def unload(self, name: str) -> None:
        """Unload all versions. Raises UnknownModelError."""
        async with self._changing:
            for number in self.versions(name):
                service = self._loaded.pop((name, number), None)
                if (name, number) == self.main_key:
                    self.main = None
                self._reasons[(name, number)] = "unloaded"
                if service is not None:
                    await self._finish(service)

    async def close(self) -> None:
        """Stop everything."""
        for service in self.services:
            await service.dispatcher.close()
        self._loaded.clear()
        self.main = None

    async def _load(self, key: tuple[str, int]) -> None:
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
        self._reasons.pop(key, None)
        if before is not None:
            await self._finish(before)

    async def _finish(self, service: Service) -> None:
        """What was let in is answered before the engine goes."""
        while service.dispatcher.in_flight:
            await asyncio.sleep(0.005)
        await service.dispatcher.close()
