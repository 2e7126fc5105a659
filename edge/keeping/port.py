"""What the switch needs of whoever keeps a module's live instance running."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from edge.hosts.port import Instance
from edge.messages.desired import Probe, Restart
from edge.messages.reported import Health

OUT_OF_MEMORY = "it was ended for taking too much memory"
"""What the error of a view says of one that was."""


@dataclass(frozen=True, slots=True)
class LiveView:
    """The live instance as it is. ``restarts``: since it was set; ``healthy_s``: for how long it
    has been healthy without a break (monotonic), 0 when it is not. ``exit_code`` and
    ``is_out_of_memory``: of its last end, also when it runs again. ``error``: one line, of the end,
    probe or host that is the reason why it is not well; None when all is well. ``is_host_away``:
    the host failed at the last look, so that this may be no fault of the instance."""

    digest: str | None
    health: Health
    restarts: int = 0
    healthy_s: float = 0.0
    port: int | None = None
    started_at_s: float | None = None
    exit_code: int | None = None
    is_out_of_memory: bool = False
    error: str | None = None
    is_host_away: bool = False


class Keeper(Protocol):
    """Of one module. Its own thread looks at the instance, so that nothing else delays it."""

    def set(self, instance: Instance | None, restart: Restart, probe: Probe) -> None:
        """What shall be live from now on (None: nothing; what runs is stopped). Counters begin
        anew when the instance is another one. Returns at once."""
        ...

    def hands_off(self) -> AbstractContextManager[None]:
        """Within the block the keeper does nothing: a step under way has ended before it begins."""
        ...

    def restart(self) -> None:
        """Stop and start the live instance, now. Returns at once: the keeper's thread does it."""
        ...

    def view(self) -> LiveView:
        """The newest observation."""
        ...
