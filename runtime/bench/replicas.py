"""What replicas say of themselves while they are under load: requests in flight, and batches.

with Watch({"web.1.a0": ("127.0.0.1", 40001)}) as watch:
    ...
watch.found()
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from runtime.deployments.pages import fetched_all

EVERY_S = 1.0
_IN_FLIGHT = "inferry_in_flight"
_BATCH_SUM, _BATCH_COUNT = "inferry_batch_requests_sum", "inferry_batch_requests_count"
Place = tuple[str, int]
Fetch = Callable[[Mapping[str, Place]], Mapping[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """``requests_per_batch`` None: it ran no batch meanwhile, or does not say."""

    id: str
    mean_in_flight: float
    most_in_flight: float
    requests_per_batch: float | None


@dataclass(slots=True)
class _Seen:
    in_flight: list[float]
    first: tuple[float, float]
    last: tuple[float, float]


class Watch:
    """Asks each replica for its page once a second, in a thread of its own."""

    def __init__(
        self, places: Mapping[str, Place], *, fetch: Fetch = fetched_all, every_s: float = EVERY_S
    ) -> None:
        self._places, self._fetch, self._every_s = places, fetch, every_s
        self._seen: dict[str, _Seen] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replicas' pages", daemon=True)

    def __repr__(self) -> str:
        return f"Watch({len(self._places)} replicas)"

    def __enter__(self) -> Self:
        if self._places:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        if self._places:
            self._thread.join()

    def found(self) -> tuple[ReplicaLoad, ...]:
        """Of those that said something, once the block has ended."""
        return tuple(_load(id, seen) for id, seen in sorted(self._seen.items()))

    def _run(self) -> None:
        while True:
            for id, page in self._fetch(self._places).items():
                said = None if page is None else read_page(page)
                if said is not None:
                    self._note(id, *said)
            if self._stopping.wait(self._every_s):
                return

    def _note(self, id: str, in_flight: float, requests: float, batches: float) -> None:
        now = (requests, batches)
        seen = self._seen.setdefault(id, _Seen([], now, now))
        seen.in_flight.append(in_flight)
        if now[1] < seen.first[1]:  # a process that began anew
            seen.first = now
        seen.last = now


def read_page(page: bytes) -> tuple[float, float, float] | None:
    """Requests in flight, and since the start those of all batches, and the batches; None where the
    page has no such numbers."""
    sums = {_IN_FLIGHT: 0.0, _BATCH_SUM: 0.0, _BATCH_COUNT: 0.0}
    has_it = False
    for line in page.decode("utf-8", "replace").split("\n"):
        name = line.partition("{")[0]
        if name in sums:
            try:
                sums[name] += float(line.rpartition(" ")[2])
            except ValueError:
                return None
            has_it = has_it or name == _IN_FLIGHT
    return (sums[_IN_FLIGHT], sums[_BATCH_SUM], sums[_BATCH_COUNT]) if has_it else None


def _load(id: str, seen: _Seen) -> ReplicaLoad:
    requests, batches = (b - a for a, b in zip(seen.first, seen.last, strict=True))
    return ReplicaLoad(
        id,
        sum(seen.in_flight) / len(seen.in_flight),
        max(seen.in_flight),
        requests / batches if batches > 0 else None,
    )
