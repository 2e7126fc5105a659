"""python -m benchmarks.autoscale.door: whether the server's own queue does under overload what the
simulator's door does.

The real Dispatcher (scoring/dispatcher.py) with an engine that takes ``a * n + b`` for a batch, on
an event loop whose clock jumps to the next timer: a minute takes seconds, and nothing else on the
machine changes the numbers. All requests have a deadline. The simulator answers as many as can be
done at all, whatever is offered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.autoscale.service import Service
from scoring.cost import CostModel
from scoring.dispatcher import Dispatcher
from scoring.engine import Merging
from scoring.errors import ScoringError
from scoring.work import Work

OFFERED = (0.9, 1.0, 1.05, 1.2, 3.0)
SECONDS = 60.0


@dataclass(slots=True)
class Door:
    """Of ``offered`` requests; ``possible`` is what can be answered in that time at most."""

    possible: float
    offered: int = 0
    in_time: int = 0
    refused: int = 0
    expired: int = 0
    batches: list[int] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Answered in time, of those that could have been."""
        return self.in_time / min(float(max(1, self.offered)), self.possible)


class JumpingLoop(asyncio.SelectorEventLoop):
    """Nobody waits: the clock jumps to whatever is due next."""

    jumped_s = 0.0

    def time(self) -> float:
        return self.jumped_s

    def _run_once(self) -> None:
        here: Any = self
        if not here._ready and here._scheduled:
            self.jumped_s = max(self.jumped_s, here._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


class _Engine:
    slots = 1
    ready = True
    broken = None
    merging = Merging(True, "a batch costs less")

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, door: Door) -> None:
        self._service = service
        self._loop = loop
        self._door = door

    async def start(self, on_change: Callable[[], None]) -> None: ...

    def run(
        self, batch: Sequence[int], done: Callable[[Sequence[int | ScoringError]], None]
    ) -> None:
        answers = list(batch)
        self._door.batches.append(len(answers))
        takes_s = self._service.a_s * len(answers) + self._service.b_s
        self._loop.call_later(takes_s, done, answers)

    async def close(self) -> None: ...


def tried(service: Service, load: float, *, seconds: float = SECONDS, seed: int = 1) -> Door:
    """``load``: of what one replica can do at most."""
    loop = JumpingLoop()
    try:
        return loop.run_until_complete(_try(service, load, seconds, random.Random(seed)))
    finally:
        loop.close()


async def _try(service: Service, load: float, seconds: float, rng: random.Random) -> Door:
    loop = asyncio.get_running_loop()
    door = Door(service.rate_rps * seconds)
    cost = CostModel(pays=True)
    for rows in (1, 2, 4, 8, 16) * 4:
        cost.observe(rows, service.a_s * rows + service.b_s)
    dispatcher: Dispatcher[int, int] = Dispatcher(
        _Engine(service, loop, door),
        queue_limit=1_000_000,
        max_batch=service.max_batch,
        clock=loop.time,
        cost=cost,
    )
    await dispatcher.start()

    def done(work: Work[int, int], answer: int | ScoringError) -> None:
        if isinstance(answer, ScoringError):
            door.expired += 1
        elif work.deadline is not None and loop.time() <= work.deadline:
            door.in_time += 1

    while loop.time() < seconds:
        await asyncio.sleep(rng.expovariate(load * service.rate_rps))
        door.offered += 1
        try:
            dispatcher.submit(Work(1, done, key="same", deadline=loop.time() + service.deadline_s))
        except ScoringError:
            door.refused += 1
    await asyncio.sleep(2.0 * service.deadline_s)
    return door


def main() -> None:
    service = Service()
    print("| offered | in time, of what can be done | refused | expired | mean batch |")
    print("|---|---|---|---|---|")
    for load in OFFERED:
        door = tried(service, load)
        mean = sum(door.batches) / max(1, len(door.batches))
        print(
            f"| {load:.0%} | {door.goodput:.0%} | {door.refused / door.offered:.0%} "
            f"| {door.expired / door.offered:.0%} | {mean:.1f} of {service.max_batch} |"
        )


if __name__ == "__main__":
    main()
