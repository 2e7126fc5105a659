"""What can go wrong in scoring.

    ScoringError
    +-- BundleError          what should be served cannot be read
    +-- ModelLoadError       the engine refuses the model file
    +-- ScriptLoadError      the script fails on import, in its checks or in init()
    +-- InputError           the request's values do not fit the model (the client's fault)
    |   +-- BodyError        the body is not what it says it is (not JSON, no object, ...)
    +-- EngineError          the engine failed on a good input
    |   +-- WorkerDiedError  the worker process ended while it had this request
    |   +-- RunTimeoutError  the engine did not answer in its time
    +-- QueueFullError       too many requests wait already
    +-- UnavailableError     nothing can answer now: no worker is alive, or the server is stopping

HTTP codes live in scoring/http/ only.
"""

from __future__ import annotations


class ScoringError(Exception):
    """Base of all errors of this package; ``str()`` is one line, fit for a client unless said."""


class BundleError(ScoringError):
    """What should be served cannot be read."""


class ModelLoadError(ScoringError):
    """The engine refuses the model file."""


class ScriptLoadError(ScoringError):
    """The script fails at ``stage``: "import", "check" or "init"."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class InputError(ScoringError):
    """The request's values do not fit the model."""


class BodyError(InputError):
    """The body is not what it says it is."""


class EngineError(ScoringError):
    """The engine failed on a good input."""


class WorkerDiedError(EngineError):
    """The worker process ended while it had this request."""


class RunTimeoutError(EngineError):
    """The engine did not answer within ``timeout_s`` seconds and was given up."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"no answer after {timeout_s:g} s")
        self.timeout_s = timeout_s


class QueueFullError(ScoringError):
    """Too many requests wait already; ``retry_after_s`` is the expected time to drain them."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the queue is full")
        self.retry_after_s = retry_after_s


class UnavailableError(ScoringError):
    """Nothing can answer now: no worker is alive, or the server is stopping."""
