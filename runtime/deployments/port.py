"""What the controller knows of a deployment: the port that each kind of target fills.

Replicas with HAProxy before them are unit.py. Where something else runs them, as devices do,
``service`` stays None and the balancer hears nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from registry.deployments import Deployment
from runtime.balance.balancer import ServiceState
from runtime.balance.declared import Service


class Unit(Protocol):
    """One deployment, brought to what is declared. Of one thread, but for ``close``."""

    @property
    def name(self) -> str:
        """The deployment's."""
        ...

    @property
    def service(self) -> Service | None:
        """What the balancer shall do for it; None: nothing (any more)."""
        ...

    @property
    def shown(self) -> str:
        """How it is, as one line for people."""
        ...

    @property
    def is_known(self) -> bool:
        """What an earlier controller left has been looked at, so that ``service`` counts."""
        ...

    @property
    def is_gone(self) -> bool:
        """It was deleted, nothing of it runs, and it is forgotten."""
        ...

    def tick(self, now_s: float, balanced: ServiceState | None, balancer_trouble: str = "") -> None:
        """Look, and do what is due. ``now_s`` by a monotonic clock; ``balanced``: as the balancer
        sees it, None where it does not. Blocks for seconds at most, but for what must be prepared.
        Raises RegistryError where the workspace cannot be read or written."""
        ...

    def close(self, timeout_s: float = 10.0) -> None:
        """What runs goes on; threads end, and are waited for so long. Idempotent."""
        ...


UnitOf = Callable[[Deployment], Unit]
"""Makes the unit of a deployment. Raises EdgeError or RegistryError where its target cannot be
had."""
