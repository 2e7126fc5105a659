"""A registry that does as a test says, and time that passes at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from registry.blobs import BlobStore
from registry.remote.credentials import Credentials
from registry.remote.options import RemoteOptions
from registry.remote.waits import Timeouts
from tests.registry.remote.hostile_registry import HostileRegistry
from tests.registry.remote.small_images import new_store

SHORT = Timeouts(connect_s=2.0, read_s=0.3, answer_s=0.6)


@dataclass
class FakeTime:
    """Sleeping takes none."""

    now: float = 1000.0
    slept_s: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """As time.monotonic."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """As time.sleep."""
        self.now += seconds
        self.slept_s.append(seconds)

    def options(self, credentials: Credentials | None = None) -> RemoteOptions:
        """With this time and short timeouts."""
        return RemoteOptions(
            credentials=credentials,
            environment={},
            timeouts=SHORT,
            clock=self.clock,
            sleep=self.sleep,
        )


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    """One that knows nothing but ``/v2/``."""
    with HostileRegistry() as running:
        yield running


@pytest.fixture
def time() -> FakeTime:
    """Of this test."""
    return FakeTime()


@pytest.fixture
def theirs(tmp_path: Path) -> BlobStore:
    """What a registry has."""
    return new_store(tmp_path / "theirs")


@pytest.fixture
def ours(tmp_path: Path) -> BlobStore:
    """Where a pull goes."""
    return new_store(tmp_path / "ours")
