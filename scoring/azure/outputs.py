"""What run() returned, as an HTTP response. As azureml-inference-server-http 1.5.1 (routes.py)."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from scoring.script.frames import Headers, ScoreRequest

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

logger = logging.getLogger("azmlinfsrv")

FAILED = "x-ms-run-function-failed"
RUN_MS = "x-ms-run-fn-exec-ms"
SCRIPT_ERROR = "An unexpected error occurred in scoring script. Check the logs for more info."
INTERNAL_ERROR = "An unexpected internal error occurred. Check the logs for more info."
_PLAIN = (dict, list, str, int, float, bool, type(None))
_NOT_SENT = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers"}
    | {"transfer-encoding", "upgrade", "server", "date", "content-length"}
)
"""The HTTP server's own headers (gunicorn drops the same from what a script sets)."""


class Answer(msgspec.Struct, frozen=True):
    """A response: ``body`` is an iterable when it streams."""

    status: int
    headers: Headers
    body: bytes | Iterable[bytes]
    run_ms: float | None = None
    failed: bool = False
    internal_error: bool = False


def of_value(value: Any, run_ms: float, head: ScoreRequest) -> Answer:
    """The answer to a request whose run() returned ``value``.

    Raises what the conversion raises; the caller turns that into ``internal_error``."""
    if not isinstance(value, _PLAIN) and is_response(value):
        return _of_response(value, run_ms, head)
    body = json.dumps({} if value is None else value).encode()
    headers = [
        ("Content-Type", "application/json"),
        (FAILED, "False"),
        (RUN_MS, f"{run_ms:.3f}"),
    ]
    return Answer(200, headers, body, run_ms)


def error(status: int, message: str, *, failed: bool = False) -> Answer:
    """An error of the contract: a JSON object with the message."""
    body = json.dumps({"message": message}).encode()
    return Answer(
        status, [("Content-Type", "application/json"), (FAILED, str(failed))], body, failed=failed
    )


def internal_error() -> Answer:
    """The value that run() returned cannot be sent, or we are broken."""
    return msgspec.structs.replace(error(500, INTERNAL_ERROR), internal_error=True)


def empty() -> Answer:
    """The answer to OPTIONS when run() does not take it."""
    return Answer(200, [("Content-Type", "text/html; charset=utf-8"), (FAILED, "False")], b"")


def is_response(value: Any) -> bool:
    """Whether this is a werkzeug response: AMLResponse, or Flask's if the script has Flask."""
    wrappers = sys.modules.get("werkzeug.wrappers")
    return wrappers is not None and isinstance(value, wrappers.Response)


def _of_response(response: Response, run_ms: float, head: ScoreRequest) -> Answer:
    from scoring.azure.request import environ

    logger.info("run() output is HTTP Response")
    failed = response.status_code >= 500
    if failed:
        response.headers[FAILED] = "True"
    response.headers.add(RUN_MS, f"{run_ms:.3f}")
    chunks, _, sent = response.get_wsgi_response(environ(head, b""))
    headers = [(name, value) for name, value in sent if name.lower() not in _NOT_SENT]
    for name, value in headers:
        f"{name}{value}".encode("latin-1")
    if response.is_streamed and head.method != "HEAD":
        return Answer(response.status_code, headers, chunks, run_ms, failed)
    return Answer(response.status_code, headers, b"".join(chunks), run_ms, failed)
