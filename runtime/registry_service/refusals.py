"""Errors as HTTP: status and the body ``{"errors": [...]}`` of the specification."""

from __future__ import annotations

import json
import logging

from starlette.responses import Response

from registry.distribution import Code, DistributionError
from registry.distribution.errors import TooLargeError, UploadBusyError, UploadRangeError
from registry.errors import (
    DamagedBlobError,
    RegistryError,
    StoreFullError,
    WorkspaceBusyError,
)

STATUS = {
    Code.BLOB_UNKNOWN: 404,
    Code.BLOB_UPLOAD_INVALID: 400,
    Code.BLOB_UPLOAD_UNKNOWN: 404,
    Code.DIGEST_INVALID: 400,
    Code.MANIFEST_BLOB_UNKNOWN: 400,
    Code.MANIFEST_INVALID: 400,
    Code.MANIFEST_UNKNOWN: 404,
    Code.NAME_INVALID: 400,
    Code.NAME_UNKNOWN: 404,
    Code.SIZE_INVALID: 400,
    Code.UNAUTHORIZED: 401,
    Code.DENIED: 403,
    Code.UNSUPPORTED: 405,
    Code.TOOMANYREQUESTS: 429,
    Code.TAG_INVALID: 400,
    Code.PAGINATION_NUMBER_INVALID: 400,
    Code.BLOB_DAMAGED: 500,
    Code.UNKNOWN: 500,
}
_log = logging.getLogger(__name__)


class SlowBodyError(Exception):
    """The body stopped coming."""


class GoneError(Exception):
    """The client went away."""


def refusal(error: Exception) -> Response:
    """The answer to a request that failed so. Paths and traces stay here."""
    if isinstance(error, UploadRangeError):
        return error_response(416, error.code, str(error), error.detail)
    if isinstance(error, UploadBusyError):
        return error_response(409, error.code, str(error), error.detail)
    if isinstance(error, TooLargeError):
        return error_response(413, error.code, str(error), error.detail)
    if isinstance(error, DistributionError):
        return error_response(STATUS[error.code], error.code, str(error), error.detail)
    if isinstance(error, DamagedBlobError):
        return error_response(500, Code.BLOB_DAMAGED, str(error), error.digest)
    if isinstance(error, StoreFullError):
        return error_response(507, Code.UNKNOWN, str(error))
    if isinstance(error, WorkspaceBusyError):
        return error_response(503, Code.UNKNOWN, str(error))
    if isinstance(error, SlowBodyError):
        return error_response(
            408, Code.BLOB_UPLOAD_INVALID, "the body stopped coming, or came too slowly"
        )
    if isinstance(error, RegistryError):
        _log.error("%s", error)
        return error_response(500, Code.UNKNOWN, "the workspace cannot serve this; see its log")
    _log.error("internal error", exc_info=error)
    return error_response(500, Code.UNKNOWN, "internal error; see the registry's log")


def error_response(status: int, code: Code, message: str, detail: str | None = None) -> Response:
    """One error, in ASCII."""
    item: dict[str, str] = {"code": code.value, "message": message}
    if detail is not None:
        item["detail"] = detail[:300]
    response = Response(json.dumps({"errors": [item]}), status, media_type="application/json")
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="inferry"'
    if status in (429, 503):
        response.headers["Retry-After"] = "5"
    return response
