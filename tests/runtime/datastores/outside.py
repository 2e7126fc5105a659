"""Names and addresses as a stranger makes them: a resolver that changes its mind, an internet of
one host, and a port of this machine that knows whether somebody came."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

PUBLIC = "93.184.215.14"
"""A host of the internet, which tests must not ask."""
OTHER = "93.184.215.15"


@dataclass(slots=True)
class Rebinding:
    """What names are resolved to: each time the next of ``answers``, then the last for ever."""

    answers: list[Sequence[str]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def internet(
    monkeypatch: pytest.MonkeyPatch, stands_for: str | None, deaf: str | None = None
) -> list[str]:
    """Connections to PUBLIC go to ``stands_for``, and are refused for None, and those to ``deaf``;
    all others are what they are. The addresses that were connected to, in order."""
    reached: list[str] = []
    connect = socket.socket.connect

    def connected(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            reached.append(address[0])
            if address[0] in (PUBLIC, deaf):
                if stands_for is None or address[0] == deaf:
                    raise ConnectionRefusedError(111, "Connection refused")
                address = (stands_for, *address[1:])
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connected)
    return reached


@dataclass(frozen=True, slots=True)
class Inside:
    """A port of loopback."""

    port: int
    _listening: socket.socket

    @property
    def was_connected(self) -> bool:
        """Whether somebody came and was not seen yet."""
        with contextlib.suppress(BlockingIOError):
            self._listening.accept()[0].close()
            return True
        return False


@contextlib.contextmanager
def inside() -> Iterator[Inside]:
    """Nothing is answered there; connections are taken by the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield Inside(listening.getsockname()[1], listening)
