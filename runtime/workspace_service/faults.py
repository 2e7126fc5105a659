"""Errors as HTTP: a status, and the document ``{"error": {"code", "message", ...}}``; and back, so
that a program elsewhere gets the same exception as one beside the workspace. Pure.

The code is the class's name in small letters: NotFoundError is ``not_found``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import registry.errors
import runtime.datastores.errors
import runtime.errors
from registry.activities.record import one_line
from registry.errors import (
    CancelledError,
    DamagedBlobError,
    ImmutableError,
    InUseError,
    InvalidNameError,
    InvalidSourceError,
    NotFoundError,
    NoWorkspaceError,
    RegistryError,
    RemoteError,
    StoreFullError,
    TargetExistsError,
    TrustError,
    WorkspaceBusyError,
    WorkspaceDamagedError,
)
from runtime.datastores.errors import (
    ClashError,
    DamagedError,
    FullError,
    InsideError,
    MissingFileError,
)
from runtime.errors import InferryError

MAX_MESSAGE_CHARS = 4000
STATUS: Mapping[type[Exception], int] = {
    NotFoundError: 404,
    InvalidNameError: 400,
    InvalidSourceError: 400,
    InUseError: 412,
    ImmutableError: 409,
    TargetExistsError: 409,
    CancelledError: 409,
    TrustError: 403,
    StoreFullError: 507,
    WorkspaceBusyError: 503,
    DamagedBlobError: 500,
    WorkspaceDamagedError: 500,
    NoWorkspaceError: 404,
    RemoteError: 502,
    registry.errors.EngineError: 502,
    RegistryError: 400,
    MissingFileError: 404,
    ClashError: 409,
    DamagedError: 409,
    InsideError: 403,
    FullError: 507,
    InferryError: 400,
}
"""Of a class that is not here, that of its nearest base counts."""


class Fault(Exception):
    """A refusal that is no error of the workspace: a status and what is said."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(one_line(message, MAX_MESSAGE_CHARS))
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def status_of(error: Exception) -> int | None:
    """The HTTP status that an error means; None for one that is nobody's business."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return None


def code_of(kind: type[Exception]) -> str:
    """``not_found`` of NotFoundError."""
    name = kind.__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def document_of(error: Exception, hidden: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a client is told of an error that ``status_of`` knows. ``hidden``: what must not be
    read, such as the workspace's folder, by what stands in its place."""
    message = str(error)
    for secret, shown in (hidden or {}).items():
        message = message.replace(secret, shown)
    told: dict[str, Any] = {
        "code": _known_code(error),
        "message": one_line(message, MAX_MESSAGE_CHARS),
    }
    if isinstance(error, InUseError):
        told |= {"what": error.what, "users": list(error.users)}
    if isinstance(error, DamagedBlobError):
        told["digest"] = error.digest
    return {"error": told}


def error_of(told: Mapping[str, Any]) -> Exception:
    """The error that a client was told of: the inverse of ``document_of``. One whose code nobody
    knows is an InferryError."""
    message = str(told.get("message") or "the service failed")
    kind = KINDS.get(str(told.get("code")), InferryError)
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    for name in ("what", "users", "digest"):
        if name in told:
            setattr(error, name, tuple(told[name]) if name == "users" else told[name])
    return error


def _known_code(error: Exception) -> str:
    """Of the nearest class that a client knows."""
    codes = map(code_of, type(error).__mro__)
    return next((code for code in codes if code in KINDS), "inferry")


def _kinds() -> Iterator[type[Exception]]:
    for module in (registry.errors, runtime.errors, runtime.datastores.errors):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, RegistryError | InferryError):
                yield value


KINDS: Mapping[str, type[Exception]] = {code_of(kind): kind for kind in _kinds()}
