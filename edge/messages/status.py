"""That a device is there. Retained; the broker sends the will, ``online`` false, when it is not."""

from __future__ import annotations

import msgspec


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """``epoch``: grows by each start of the agent, so that a late will of an earlier one is known
    as such."""

    v: int
    device: str
    epoch: int
    online: bool = False
    agent_version: str = ""
    desired_version: int = 0
    machine: str = ""
    hosts: tuple[str, ...] = ()
    """What it can run modules in: "docker", "process"."""
    life: str = ""
    """Of the outbox, so that the hub's first Ack says what it has of it. A will needs none."""
