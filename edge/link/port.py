"""What the agent and the hub need of MQTT."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """``expiry_s``: the broker drops it when it cannot deliver it by then. ``properties``: MQTT 5
    user properties."""

    topic: str
    payload: bytes
    is_retained: bool = False
    expiry_s: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


OnMessage = Callable[[Message], None]
OnConnected = Callable[[], None]


class Link(Protocol):
    """A connection that is made, and made again after each loss, by a thread of its own.

    ``on_message`` and ``on_connected`` are called by that thread, must be quick and must not raise:
    they put work into queues. ``on_connected`` is called after each connection once everything is
    subscribed. A message arrives at least once; retained ones at each connection."""

    @property
    def is_connected(self) -> bool:
        """Whether messages go out now."""
        ...

    def start(
        self,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None:
        """Begin. Returns at once; never raises because of the network."""
        ...

    def publish(self, message: Message) -> bool:
        """Hand the message over at QoS 1. False when there is no connection, or too much is under
        way: then it was not taken, and the caller sends it later. True promises nothing: only what
        the other side says is proof."""
        ...

    def stop(self, last: Message | None = None) -> None:
        """Send ``last``, disconnect in good order (no will) and end. Idempotent."""
        ...
