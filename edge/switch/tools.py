"""What all updaters of a device share, and how fast they go about it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.hosts.port import ModuleHost
from edge.keeping.keeper import LiveKeeper
from edge.stock.port import Puller, Stock
from edge.switch.locks import LockBoard
from edge.switch.record import Records


def _keeper(module: str, host: ModuleHost) -> LiveKeeper:
    return LiveKeeper(module, host)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. ``look_s``: between looks at what is waited for; ``start_look_s``: at what starts.
    ``settle_s``: after a reload the old processes may answer for so long. ``first_retry_s`` doubles
    up to ``max_retry_s``. ``probe_s``: of what is on trial. ``order_s``: so long modules of a lower
    order are waited for after a boot; then what ran before runs again. ``mend_s``: between looks
    for damage."""

    look_s: float = 0.2
    start_look_s: float = 0.1
    settle_s: float = 1.0
    idle_s: float = 5.0
    first_retry_s: float = 2.0
    max_retry_s: float = 300.0
    probe_s: float = 0.5
    order_s: float = 120.0
    mend_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What all units of a device share. ``hosts``: by kind, the preferred first. ``pinned``: images
    of all modules, which must not make room for others. ``may_pull``: None, or what a pull waits
    for ("window"). ``now_s``: UTC since 1970, the hub's if it is known."""

    state: Path
    hosts: Mapping[str, ModuleHost]
    stock: Stock
    puller: Puller
    records: Records
    locks: LockBoard = field(default_factory=LockBoard)
    pinned: Callable[[], set[str]] = lambda: set()
    may_pull: Callable[[], str | None] = lambda: None
    now_s: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    on_change: Callable[[], None] = lambda: None
    event: Callable[[str, Mapping[str, object]], None] = lambda kind, body: None
    make_keeper: Callable[[str, ModuleHost], LiveKeeper] = _keeper
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is shown of the step under way."""

    waiting_for: str | None = None
    done_bytes: int | None = None
    total_bytes: int | None = None
    error: str | None = None
