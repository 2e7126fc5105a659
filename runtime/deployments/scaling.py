"""How many replicas a deployment's traffic needs, from what they say on GET /metrics.

    scaler = Scaler()
    decision = scaler.decided(service, replicas, held=0, scale=2, now_s=now_s)

Decided in runtime/autoscale; here the pages are fetched, each with a deadline.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from edge.keeping.http_probe import Timed
from registry.deployments import ServiceSettings
from runtime.autoscale import (
    Decision,
    Declared,
    History,
    Load,
    Replica,
    Sample,
    decide,
    load_of,
    observe,
)
from runtime.deployments.fleet import Seen

EACH_S = 1.0
"""How often replicas are asked."""
PAGE_S = 0.5
"""For a page; who takes longer says nothing this time, which is not zero."""
MAX_PAGE_BYTES = 4 * 1024 * 1024
MOST_AT_ONCE = 8


@dataclass(slots=True)
class _Known:
    """Of a replica: seconds of a monotonic clock."""

    started_s: float
    ready_s: float | None = None


class Scaler:
    """Of one deployment. Not for several threads at once."""

    def __init__(self) -> None:
        self._history = History()
        self._known: dict[str, _Known] = {}
        self._asked_s: float | None = None
        self.last: Decision | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether replicas are to be asked now."""
        return self._asked_s is None or not 0 <= now_s - self._asked_s < EACH_S

    def decided(
        self,
        service: ServiceSettings,
        seen: Sequence[Seen],
        places: Mapping[str, tuple[int, str, int]],
        *,
        held: int,
        scale: int,
        now_s: float,
    ) -> Decision:
        """``places``: revision, address and port by id; ``held``: requests that wait as there is no
        replica; ``scale``: what is wanted until now."""
        self._asked_s = now_s
        declared = declared_of(service)
        live = [each for each in seen if each.state in ("starting", "ready")]
        loads = self._loads([each.id for each in live if each.state == "ready"], places)
        sample = Sample(
            now_s, tuple(self._replica(each, loads, now_s) for each in live), max(0, held)
        )
        for gone in set(self._known) - {each.id for each in live}:
            del self._known[gone]
        self._history = observe(declared, self._history, sample, now_s)
        self.last = decide(declared, self._history, wanted=scale, now_s=now_s)
        return self.last

    def _replica(self, seen: Seen, loads: Mapping[str, Load | None], now_s: float) -> Replica:
        known = self._known.setdefault(seen.id, _Known(now_s))
        if seen.state == "ready" and known.ready_s is None:
            known.ready_s = now_s
        return Replica(seen.id, known.started_s, known.ready_s, loads.get(seen.id))

    def _loads(
        self, ids: Sequence[str], places: Mapping[str, tuple[int, str, int]]
    ) -> dict[str, Load | None]:
        asked = [id for id in ids if id in places]
        if not asked:
            return {}
        with concurrent.futures.ThreadPoolExecutor(min(MOST_AT_ONCE, len(asked))) as pool:
            pages = pool.map(lambda id: fetched(*places[id][1:]), asked)
            return {
                id: None if page is None else load_of(page)
                for id, page in zip(asked, pages, strict=True)
            }


def declared_of(service: ServiceSettings) -> Declared:
    """The owner's words in those of autoscale."""
    scale = service.autoscale
    return Declared(
        min_replicas=service.least_replicas,
        max_replicas=service.most_replicas,
        target_in_flight=scale.in_flight,
        target_queue_s=max(0.001, scale.queue_s),
        up_s=scale.up_after_s,
        down_s=scale.down_after_s,
        zero_grace_s=scale.zero_after_s,
    )


def fetched(address: str, port: int, timeout_s: float = PAGE_S) -> bytes | None:
    """GET /metrics; None where no whole page comes in time."""
    deadline = time.monotonic() + timeout_s
    host = f"[{address}]" if ":" in address else address
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((address, port), timeout_s) as link:
            link.sendall(request.encode())
            answer = http.client.HTTPResponse(cast("socket.socket", Timed(link, deadline)))
            try:
                answer.begin()
                page = answer.read(MAX_PAGE_BYTES + 1)
                is_whole = answer.status == 200 and not answer.length
            finally:
                answer.close()
    except (OSError, http.client.HTTPException, ValueError, OverflowError):
        return None
    return page if is_whole and len(page) <= MAX_PAGE_BYTES else None
