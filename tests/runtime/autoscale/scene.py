"""A deployment that is looked at each second, for tests: what it does is given as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.autoscale.decision import Decision, decide
from runtime.autoscale.declared import Declared
from runtime.autoscale.history import History, observe_reading
from runtime.autoscale.learned import Learned
from runtime.autoscale.reading import Reading

RATE_RPS = 10.0
KNOWN = Learned(start_s=3.0, starts_seen=5, rate_rps=RATE_RPS, is_sure=True)


@dataclass(slots=True)
class Scene:
    """Replicas do RATE_RPS each and start in ``start_s``; in flight is a tenth of the rate, and
    what cannot be done piles up."""

    declared: Declared
    wanted: int = 1
    history: History = field(default_factory=lambda: History(learned=KNOWN))
    now_s: float = 1000.0
    start_s: float = 3.0
    piled: float = 0.0
    starting: list[float] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def replicas(self) -> list[int]:
        """What was decided, each second."""
        return [decision.replicas for decision in self.decisions]

    @property
    def ready(self) -> int:
        return self.wanted - len(self.starting)

    def second(self, arrived: float, *, unknown: int = 0, held: int = 0) -> Decision:
        """One more second, in which so many requests came."""
        self.now_s += 1.0
        took = tuple(self.start_s for at_s in self.starting if at_s <= self.now_s)
        self.starting = [at_s for at_s in self.starting if at_s > self.now_s]
        ready = self.ready
        answered = min(arrived + self.piled, ready * RATE_RPS)
        self.piled = arrived + self.piled - answered if ready else 0.0
        reading = Reading(
            at_s=self.now_s,
            ready=ready,
            starting=len(self.starting),
            unknown=min(unknown, ready),
            in_flight=self.piled + answered / 10.0,
            drain_s=self.piled / max(1.0, ready * RATE_RPS) + 0.1,
            arrived_rps=arrived if ready else 0.0,
            answered_rps=answered,
            missed_rps=0.0,
            held=held,
            starts_s=took,
        )
        self.history = observe_reading(self.declared, self.history, reading, self.now_s)
        return self.decide()

    def seconds(self, arrived: Iterable[float]) -> list[int]:
        """Several; returns what was decided in each."""
        return [self.second(one).replicas for one in arrived]

    def decide(self) -> Decision:
        """Asks, and does as it is told."""
        decision = decide(self.declared, self.history, wanted=self.wanted, now_s=self.now_s)
        self.decisions.append(decision)
        more = decision.replicas - self.wanted
        self.starting += [self.now_s + self.start_s] * max(0, more)
        if more < 0:
            self.starting = self.starting[: max(0, len(self.starting) + more)]
        self.wanted = decision.replicas
        return decision


def steady(rate_rps: float, seconds: int) -> list[float]:
    """The same load for so long."""
    return [rate_rps] * seconds


def enough(rate_rps: float, headroom: float) -> int:
    """Replicas for a load that has been the same for more than a minute."""
    return math.ceil(rate_rps * (1.0 + headroom) * 64.0 / 64.5 / RATE_RPS - 1e-9)
