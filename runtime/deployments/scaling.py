"""How many replicas a deployment's traffic needs, from what they say on GET /metrics.

    scaler = Scaler()
    decision = scaler.decided(service, seen, pages, held=0, scale=2, now_s=now_s)

Decided in runtime/autoscale; here the owner's words and the replicas' pages become its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from runtime.autoscale.reading import Reading
from runtime.deployments.fleet import Seen


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
        self.last: Decision | None = None

    @property
    def newest(self) -> Reading | None:
        """What all replicas together said last."""
        return self._history.newest

    def decided(
        self,
        service: ServiceSettings,
        seen: Sequence[Seen],
        pages: Mapping[str, bytes | None],
        *,
        held: int,
        scale: int,
        now_s: float,
    ) -> Decision:
        """``pages``: of /metrics, by id; ``held``: requests that wait as there is no
        replica; ``scale``: what is wanted until now."""
        declared = declared_of(service)
        live = [each for each in seen if each.state in ("starting", "ready")]
        loads = {id: None if page is None else load_of(page) for id, page in pages.items()}
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
