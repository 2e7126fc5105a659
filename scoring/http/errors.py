"""Which status each error of scoring/ is: the one table."""

from __future__ import annotations

import math

from scoring.errors import (
    EngineError,
    InputError,
    QueueFullError,
    ScoringError,
    UnavailableError,
)
from scoring.http.answer import Answer, error_answer

STATUS: dict[type[ScoringError], int] = {
    QueueFullError: 429,
    UnavailableError: 503,
    InputError: 400,
    EngineError: 500,
    ScoringError: 500,
}
"""Status of an error: that of the nearest base class listed here."""


def status_of(error: ScoringError) -> int:
    """The status of ``error``."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def answer_error(error: ScoringError) -> Answer:
    """The answer for ``error``, with Retry-After where trying again makes sense."""
    status = status_of(error)
    headers = []
    if isinstance(error, QueueFullError):
        headers.append(("Retry-After", str(max(1, math.ceil(error.retry_after_s)))))
    elif status == 503:
        headers.append(("Retry-After", "1"))
    return error_answer(status, str(error), headers)
