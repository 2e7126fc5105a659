"""The container engine during one piece of work: found when it is first needed, closed at the end.

with Engines() as engines:
    engine = engines.at_hand(platform)
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from registry.docker_engine import DockerEngine, connect
from registry.errors import EngineError
from registry.platforms import Platform

SOCKET = Path("/var/run/docker.sock")


class Engines:
    """At most one connection."""

    def __init__(self) -> None:
        self._engine: DockerEngine | None = None

    @property
    def was_asked(self) -> bool:
        """Whether the engine was used."""
        return self._engine is not None

    def get(self) -> DockerEngine:
        """The engine. Raises EngineError."""
        if self._engine is None:
            self._engine = connect()
        return self._engine

    def at_hand(self, platform: Platform) -> DockerEngine | None:
        """The engine of this machine that runs ``platform``, or None. Where nothing says that there
        is one, the SDK is not even loaded, which takes a tenth of a second."""
        if not os.environ.get("DOCKER_HOST") and not SOCKET.exists():
            return None
        try:
            engine = self.get()
            return engine if engine.is_local() and engine.platform() == platform else None
        except EngineError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            self._engine.close()
