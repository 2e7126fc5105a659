"""Which status each error of scoring/ is: the one table."""

from __future__ import annotations

import logging
import math
import random

from scoring.errors import DrainingError as Draining
from scoring.errors import (
    EngineError,
    EngineLostError,
    ExpiredError,
    InputError,
    ModelNotReadyError,
    QuarantinedError,
    RefusedError,
    ScoringError,
    UnavailableError,
    UnknownModelError,
)
from scoring.http.answer import Answer, error_answer

logger = logging.getLogger("scoring")

STATUS: dict[type[ScoringError], int] = {
    RefusedError: 429,
    Draining: 503,
    UnavailableError: 503,
    ExpiredError: 504,
    QuarantinedError: 422,
    UnknownModelError: 404,
    ModelNotReadyError: 400,
    InputError: 400,
    EngineError: 500,
    EngineLostError: 503,
    ScoringError: 500,
}
"""Status of an error: that of the nearest base class listed here."""
JITTER = 0.25
"""Clients that were refused together should not come back together."""


def status_of(error: ScoringError) -> int:
    """The status of ``error``."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def told(error: Exception) -> ScoringError:
    """What a client is told of ``error``: a bug of ours goes to the log."""
    if isinstance(error, ScoringError):
        return error
    logger.error("a route failed", exc_info=error)
    return EngineError("internal error")


def answer_error(error: ScoringError) -> Answer:
    """The answer for ``error``, with Retry-After where trying again makes sense."""
    return error_answer(status_of(error), str(error), retry_headers(error))


def retry_headers(error: ScoringError) -> list[tuple[str, str]]:
    """Retry-After in whole seconds (RFC 9110, section 10.2.3), computed from what waits."""
    if isinstance(error, RefusedError):
        after_s = error.retry_after_s * (1 + JITTER * random.random())
        return [("Retry-After", str(max(1, math.ceil(after_s))))]
    if status_of(error) == 503:
        return [("Retry-After", "1")]
    return []
