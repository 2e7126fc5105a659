"""One sample as the whole deployment's numbers, which is what decisions are made of.

    reading, counted = read(sample, counted)

What a replica does not say is not zero: ready replicas that are ``unknown`` are taken to have what
the others have on average, and as long as there are any, nothing is taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.autoscale.sample import Load, Replica, Sample

MOST_REPLICAS_SEEN = 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """Rates are of the time since the reading before; None: not known."""

    at_s: float
    ready: int
    starting: int = 0
    unknown: int = 0
    """Of the ready ones, those that did not say."""
    in_flight: float = 0.0
    drain_s: float = 0.0
    """Expected by a replica, on average."""
    arrived_rps: float | None = None
    answered_rps: float | None = None
    missed_rps: float | None = None
    held: int = 0
    starts_s: tuple[float, ...] = ()
    """How long those took to start that are ready for the first time."""

    @property
    def is_blind(self) -> bool:
        """Replicas are ready and not one of them said anything."""
        return self.ready > 0 and self.unknown >= self.ready

    @property
    def is_active(self) -> bool:
        """Somebody asks, as far as is known."""
        return self.in_flight > 0 or self.held > 0 or (self.arrived_rps or 0.0) > 0


@dataclass(frozen=True, slots=True)
class Counted:
    """A replica's counters when it last said them, to see what they grew by."""

    at_s: float
    load: Load


def read(sample: Sample, counted: Mapping[str, Counted]) -> tuple[Reading, dict[str, Counted]]:
    """The reading of a sample, and what the next one must be given. Pure; never raises for any
    number that a replica says."""
    replicas = sample.replicas[:MOST_REPLICAS_SEEN]
    ready = [replica for replica in replicas if replica.ready_s is not None]
    known = [(r, r.load) for r in ready if r.load is not None and r.load.is_sane]
    scale = len(ready) / len(known) if known else 0.0
    grown = [
        found for r, load in known if (found := _grown(sample.at_s, r, load, counted)) is not None
    ]
    rate_scale = len(ready) / len(grown) if grown else 0.0
    reading = Reading(
        at_s=sample.at_s,
        ready=len(ready),
        starting=len(replicas) - len(ready),
        unknown=len(ready) - len(known),
        in_flight=sum(load.in_flight for _, load in known) * scale,
        drain_s=sum(load.drain_s for _, load in known) / max(1, len(known)),
        arrived_rps=sum(one[0] for one in grown) * rate_scale if grown else _none_ready(ready),
        answered_rps=sum(one[1] for one in grown) * rate_scale if grown else _none_ready(ready),
        missed_rps=sum(one[2] for one in grown) * rate_scale if grown else _none_ready(ready),
        held=max(0, sample.held),
        starts_s=tuple(
            took for r in ready if r.name not in counted and (took := r.start_took_s) is not None
        ),
    )
    # One that says nothing for a while keeps its last counters; one that is gone is forgotten. A
    # ready one that has never said anything is not new each time.
    kept = {r.name: counted[r.name] for r in ready if r.name in counted}
    new = {r.name: Counted(sample.at_s, load) for r, load in known}
    return reading, {**kept, **new}


def _none_ready(ready: list[Replica]) -> float | None:
    return None if ready else 0.0


def _grown(
    now_s: float, replica: Replica, load: Load, counted: Mapping[str, Counted]
) -> tuple[float, float, float] | None:
    """Requests per second that arrived, were answered and missed; None: not known yet."""
    before = counted.get(replica.name)
    if before is None or not now_s > before.at_s:
        return None
    old, span_s = before.load, now_s - before.at_s
    if load.ended_total < old.ended_total:  # its server began anew
        old = Load(0.0, 0.0)
    ended = load.ended_total - old.ended_total
    arrived = max(0.0, ended + load.in_flight - old.in_flight)
    return (
        arrived / span_s,
        max(0.0, load.answered_total - old.answered_total) / span_s,
        max(0.0, load.missed_total - old.missed_total) / span_s,
    )
