"""Results and errors as responses: JSON, or MessagePack for a client that asks for it (which keeps
NaN and infinities, where JSON has null)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from registry.activities.record import one_line
from registry.distribution import Code, DistributionError
from registry.distribution.errors import TooLargeError
from registry.pages import Page
from runtime.registry_service.refusals import STATUS as DISTRIBUTION_STATUS
from runtime.registry_service.refusals import GoneError, SlowBodyError
from runtime.workspace_service.binding import MSGPACK
from runtime.workspace_service.faults import MAX_MESSAGE_CHARS, Fault, document_of, status_of

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}
LATER = {"Retry-After": "5"}
_log = logging.getLogger(__name__)


def answer(value: Any, status: int, accept: str) -> Response:
    """A result. None is 204; of a page the items."""
    if isinstance(value, Page):
        value = value.items
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status_code=204)
    if MSGPACK in accept:
        return Response(msgspec.msgpack.encode(value), status, media_type=MSGPACK)
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def refusal(error: Exception, hidden: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that failed so; what nobody foresaw goes to the log alone."""
    if isinstance(error, GoneError):
        return Response(status_code=499)
    if isinstance(error, Fault):
        told: dict[str, Any] = {"error": {"code": error.code, "message": str(error)}}
        return _response(told, error.status, error.headers)
    if isinstance(error, SlowBodyError):
        return _response(_said("slow_body", "the body stopped coming, or came too slowly"), 408)
    if isinstance(error, TooLargeError):
        return _response(_said("too_large", str(error)), 413)
    if isinstance(error, DistributionError):
        code = error.code.value.lower()
        told, headers = _said(code, str(error)), {}
        if error.code == Code.TOOMANYREQUESTS:
            headers = LATER
        return _response(told, DISTRIBUTION_STATUS[error.code], headers)
    status = status_of(error)
    if status is None:
        _log.error("internal error", exc_info=error)
        return _response(_said("internal", "internal error; see the service's log"), 500)
    if status >= 500:
        _log.error("%s", error)
    return _response(document_of(error, hidden), status, LATER if status == 503 else {})


def _said(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": one_line(message, MAX_MESSAGE_CHARS)}}


def _response(told: Mapping[str, Any], status: int, headers: Mapping[str, str] = {}) -> Response:
    made = Response(msgspec.json.encode(told), status, media_type="application/json")
    made.headers.update(headers)
    if status == 401:
        made.headers["WWW-Authenticate"] = 'Bearer realm="inferry"'
    return made
