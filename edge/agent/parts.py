"""What an agent is put together from. ``assembly.assemble`` makes it of the real parts, a test of
others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge.agent.modules import MakeUnit
from edge.agent.threads import Work
from edge.hosts.port import ModuleHost
from edge.link.port import Link
from edge.messages.desired import Desired
from edge.messages.reported import OutboxReport


def _nothing() -> None:
    """For parts that are not there."""


@dataclass(frozen=True, slots=True)
class Parts:
    """``services``: threads that the agent keeps, by name. ``on_ack`` and ``on_announced`` are
    quick. ``mark``: the user property "mono" of each message to the hub. ``prepare``: called with
    each desired state before its modules are told of it. ``metrics``: takes the agent's own
    numbers. ``event``: takes what should be known at the hub, as (kind, JSON). ``kept_modules``: of
    which something is on the device. ``wake``: services look whether it is the end. ``close``:
    after all threads have ended."""

    link: Link
    hosts: Sequence[ModuleHost]
    make_unit: MakeUnit
    outbox_report: Callable[[], OutboxReport]
    services: Mapping[str, Work] = field(default_factory=dict)
    life: Callable[[], str] = lambda: ""
    on_ack: Callable[[bytes], None] = lambda payload: None
    on_announced: Callable[[], None] = _nothing
    mark: Callable[[], str] = lambda: "0"
    hub_now_ms: Callable[[], int | None] = lambda: None
    prepare: Callable[[Desired], None] = lambda desired: None
    metrics: Callable[[Mapping[str, float]], None] = lambda values: None
    event: Callable[[str, Mapping[str, object]], None] = lambda kind, body: None
    flush: Callable[[], str] = lambda: "there is no outbox"
    kept_modules: Callable[[], set[str]] = set
    wake: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing
