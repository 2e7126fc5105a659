"""runtime/autoscale as it is, each second."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.autoscale.decision import decide
from runtime.autoscale.declared import Declared
from runtime.autoscale.history import History, observe_reading
from runtime.autoscale.reading import Reading


@dataclass(slots=True)
class Ours:
    """Begins knowing nothing of the service: neither its rate nor its start."""

    declared: Declared
    interval_s: int = 1
    history: History = field(default_factory=History)

    def replicas(self, reading: Reading, wanted: int) -> int:
        self.history = observe_reading(self.declared, self.history, reading, reading.at_s)
        return decide(self.declared, self.history, wanted=wanted, now_s=reading.at_s).replicas
