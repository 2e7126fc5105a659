"""The Engine port: what answers requests, wherever it lives (this process or worker processes).

engine = EchoEngine()
await engine.start(on_change)
engine.run([item], print)        # prints [item]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from scoring.errors import ScoringError

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


@dataclass(frozen=True, slots=True)
class Merging:
    """Whether several requests may go into one batch; ``reason`` says why, or why not."""

    allowed: bool
    reason: str


class Engine(Protocol[In, Out]):
    """Runs batches. All methods are called from the server's event loop."""

    @property
    def slots(self) -> int:
        """How many batches it can run side by side now, those under way included; 0 while nothing
        is alive. A place that is taken by something other than ``run`` does not count."""

    @property
    def ready(self) -> bool:
        """Whether something is alive that can answer, busy or not: this is what /readyz reports."""

    @property
    def broken(self) -> str | None:
        """Why no request can be answered for now (no worker lives and the last one failed to load),
        or None. While it is set, waiting requests are refused rather than kept waiting."""

    @property
    def merging(self) -> Merging:
        """Whether ``run`` takes more than one item; settled once start() has returned."""

    async def start(self, on_change: Callable[[], None]) -> None:
        """Load, returning when the first batch can run. ``on_change`` is called from then on
        whenever ``slots``, ``ready`` or ``broken`` may have changed. Raises a ScoringError when
        loading fails."""

    def run(
        self, batch: Sequence[In], done: Callable[[Sequence[Out | ScoringError]], None]
    ) -> None:
        """Start a batch. ``done`` is called exactly once, in the loop's thread and maybe before
        this returns, with one answer for each item in order; an item that fails has its error in
        its place and does not harm the others. At most ``slots`` batches at a time, of more than
        one item only where ``merging`` allows it."""

    async def close(self) -> None:
        """Free everything; idempotent; leaves no process behind. Running batches are abandoned."""


class EchoEngine:
    """The in-memory engine: answers each item with itself. For tests and for timing the server."""

    merging = Merging(True, "an echo is row by row")

    def __init__(self, slots: int = 1) -> None:
        self._slots = slots
        self._on_change: Callable[[], None] = lambda: None

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def ready(self) -> bool:
        return self._slots > 0

    @property
    def broken(self) -> str | None:
        return None

    async def start(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def run(
        self, batch: Sequence[Any], done: Callable[[Sequence[Any | ScoringError]], None]
    ) -> None:
        done(list(batch))

    async def close(self) -> None:
        self._slots = 0
