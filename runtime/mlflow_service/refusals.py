"""Errors as MLflow's clients read them: a status and ``{"error_code", "message"}``.

Clients send again what was answered with 408, 429, 500, 502, 503 or 504, for minutes: what will not
change has another status.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec

from registry.distribution.errors import TooLargeError
from registry.errors import (
    DamagedBlobError,
    ImmutableError,
    InUseError,
    InvalidNameError,
    InvalidSourceError,
    NameTakenError,
    NotFoundError,
    RegistryError,
    StoreFullError,
    WorkspaceBusyError,
)
from runtime.registry_service.refusals import SlowBodyError

_log = logging.getLogger(__name__)
_TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (NotFoundError, 404, "RESOURCE_DOES_NOT_EXIST"),
    (NameTakenError, 400, "RESOURCE_ALREADY_EXISTS"),
    (InvalidNameError, 400, "INVALID_PARAMETER_VALUE"),
    (InvalidSourceError, 400, "INVALID_PARAMETER_VALUE"),
    (ImmutableError, 400, "INVALID_PARAMETER_VALUE"),
    (InUseError, 412, "RESOURCE_CONFLICT"),
    (StoreFullError, 507, "RESOURCE_EXHAUSTED"),
    (WorkspaceBusyError, 503, "TEMPORARILY_UNAVAILABLE"),
    (DamagedBlobError, 410, "DATA_LOSS"),
    (TooLargeError, 413, "INVALID_PARAMETER_VALUE"),
    (SlowBodyError, 400, "INVALID_PARAMETER_VALUE"),
)
_SAID: dict[type[Exception], str] = {SlowBodyError: "the body stopped coming, or came too slowly"}


class RefusedError(Exception):
    """What this service itself refuses; ``str()`` is one clear line."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered."""

    status: int
    body: bytes


def invalid(message: str) -> RefusedError:
    """A request that cannot be understood or is not allowed."""
    return RefusedError(400, "INVALID_PARAMETER_VALUE", message)


def refusal(error: Exception) -> Refusal:
    """The answer to a request that failed so. Paths and traces stay here."""
    if isinstance(error, RefusedError):
        return _refusal(error.status, error.code, str(error))
    for kind, status, code in _TABLE:
        if isinstance(error, kind):
            return _refusal(status, code, _SAID.get(type(error), str(error)))
    if isinstance(error, RegistryError):
        _log.error("%s", error)
        message = "the workspace cannot serve this; see the service's log"
        return _refusal(500, "INTERNAL_ERROR", message)
    _log.error("internal error", exc_info=error)
    return _refusal(500, "INTERNAL_ERROR", "internal error; see the service's log")


def _refusal(status: int, code: str, message: str) -> Refusal:
    said = message.encode("ascii", "backslashreplace").decode()[:2000]
    return Refusal(status, msgspec.json.encode({"error_code": code, "message": said}))
