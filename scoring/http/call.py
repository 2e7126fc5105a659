"""One request as the routes below ASGI see it."""

from __future__ import annotations

from typing import Any, Protocol

from scoring.azure.identity import Ids
from scoring.dispatcher import Dispatcher
from scoring.http.answer import Answer
from scoring.work import State, Work

Pairs = list[tuple[bytes, bytes]]


class Connection(Protocol):
    """Where answers go."""

    def answer(self, call: Call, answer: Answer) -> None:
        """Write it when it is its turn."""


class Call:
    """A whole request. The route calls ``reply(answer)`` once, and sets ``work`` (and the
    dispatcher that has it) so that it can be dropped when the client leaves before that.

    Header names are in lower case; ``target`` is as it was sent, ``path`` is decoded."""

    # Most of a request's fields keep their defaults: an instance holds only what was set.
    method = ""
    target = b""
    path = ""
    query = b""
    http_version = "1.1"
    size = 0
    body = b""
    closes = False
    expects = False
    answered = False
    scheme = "http"
    route: Any = None
    refusal: Answer | None = None
    """The answer to something that was no request: it ends the connection."""
    has_ids = True
    """Whether to look for them among the headers."""
    ids: Ids | None = None
    """What the client calls this request; None where it has no name for it."""
    connection: Connection | None = None
    trace: Any = None
    client: Any = None
    server: Any = None
    work: Work[Any, Any] | None = None
    dispatcher: Dispatcher[Any, Any] | None = None

    def __init__(self, started: float) -> None:
        self.started = started
        """Monotonic second at which its first byte was seen."""
        self.headers: Pairs = []
        self.named: dict[bytes, bytes] = {}
        """Headers by name; repeated ones joined by a comma (RFC 9110, section 5.3)."""
        self.chunks: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Call {self.method} {self.target[:40]!r}>"

    @property
    def is_waiting(self) -> bool:
        """Whether it stands in a queue."""
        return self.work is not None and self.work.state == State.WAITING

    def reply(self, answer: Answer) -> None:
        """Answer; the second time, or after the client has left, nothing happens."""
        if self.connection is not None and not self.answered:
            self.answered = True
            self.connection.answer(self, answer)
            self.work = None  # it knows us: nothing would be freed before the next collection

    def header(self, name: bytes, default: str = "") -> str:
        """A header's value, decoded."""
        value = self.named.get(name)
        return default if value is None else value.decode("latin-1")


def by_name(headers: Pairs) -> dict[bytes, bytes]:
    """Headers by name, repeated ones joined."""
    named = dict(headers)
    if len(named) == len(headers):
        return named
    named = {}
    for name, value in headers:
        named[name] = named[name] + b"," + value if name in named else value
    return named
