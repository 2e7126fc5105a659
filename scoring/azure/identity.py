"""Request ids and tracing ids: what is accepted, what is sent back.

Decides as azureml-inference-server-http 1.5.1 does (server/routes.py, ``_init_headers`` and
``populate_response_headers``). Header names come in lower case; duplicates are joined by a comma.

    ids = request_ids({"x-ms-client-request-id": "abc"}, lambda: str(uuid4()))
    ids.response_headers()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

MAX_ID_CHARS = 100


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of one request. An empty id is not sent back."""

    request_id: str
    legacy_id: str
    client_id: str
    trace_id: str | None = None

    def response_headers(self) -> list[tuple[str, str]]:
        """What to set on the response, in the reference's order. The first three replace what run()
        has set, TraceId is added to it."""
        ids = [
            ("x-request-id", self.request_id),
            ("x-ms-request-id", self.legacy_id),
            ("x-ms-client-request-id", self.client_id),
        ]
        sent = [(name, value) for name, value in ids if value]
        return sent if self.trace_id is None else [*sent, ("TraceId", self.trace_id)]


@dataclass(frozen=True, slots=True)
class TooLong:
    """The request must be refused with 431 and ``message``."""

    message: str
    ids: Ids
    """The ids that were read before the one that is too long."""

    def response_headers(self) -> list[tuple[str, str]]:
        """What is still echoed: never the id that is too long."""
        return self.ids.response_headers()


def request_ids(headers: Mapping[str, str], new_id: Callable[[], str]) -> Ids | TooLong:
    """The ids of a request, or why it must be refused."""
    trace_id = headers.get("traceid")
    given = headers.get("x-request-id")
    request_id = new_id() if given is None else given
    if len(request_id) > MAX_ID_CHARS:
        message = f"x-request-id must not exceed {MAX_ID_CHARS} characters"
        return TooLong(message, Ids("", "", "", trace_id))
    legacy_id = headers.get("x-ms-request-id", "")
    client_id = headers.get("x-ms-client-request-id", "")
    if legacy_id:
        client_id = client_id or legacy_id
    else:
        legacy_id = client_id or request_id
    if max(len(legacy_id), len(client_id)) > MAX_ID_CHARS:
        message = (
            f"x-ms-request-id and x-ms-client-request-id must not exceed {MAX_ID_CHARS} characters"
        )
        return TooLong(message, Ids(request_id, "", "", trace_id))
    return Ids(request_id, legacy_id, client_id, trace_id)
