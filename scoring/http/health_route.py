"""``GET /`` and ``GET /healthz``: this process answers. Below ASGI, so that it takes one turn of
the event loop only, however busy that is."""

from __future__ import annotations

from scoring.http.answer import Answer, text_answer
from scoring.http.call import Call

HEALTHY = text_answer("Healthy")


class HealthRoute:
    """Liveness."""

    def __init__(self, name: str) -> None:
        self.name = name

    def refuse_unread(self, call: Call) -> Answer | None:
        """It has no use for a body."""
        return HEALTHY

    def begin(self, call: Call) -> None:
        """Healthy."""
        call.reply(HEALTHY)
