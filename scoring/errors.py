"""What can go wrong in scoring.

    ScoringError
    +-- BundleError          what should be served cannot be read
    +-- ModelLoadError       the engine refuses the model file
    +-- EngineStartError     the engine cannot be had here (no board, a busy one, another one)
    +-- ScriptLoadError      the script fails on import, in its checks or in init()
    +-- UnknownModelError    there is no model of that name and version here
    +-- ModelNotReadyError   it is not loaded
    +-- InputError           the request's values do not fit the model (the client's fault)
    |   +-- BodyError        the body is not what it says it is (not JSON, no object, ...)
    +-- EngineError          the engine failed on a good input
    |   +-- EngineLostError  what computes was lost with these requests, and comes back
    |   +-- WorkerDiedError  the worker process ended while it had this request
    |   +-- RunTimeoutError  the engine did not answer in its time
    +-- QuarantinedError     this very input has ended two processes
    +-- ExpiredError         its deadline passed while it waited, or would before it is answered
    +-- RefusedError         not let in: come again after retry_after_s
    |   +-- QueueFullError   too many requests wait already
    |   +-- DeadlineError    the deadline cannot be met
    |   +-- DrainingError    the server is stopping
    +-- UnavailableError     nothing can answer now: no worker is alive, or the server has stopped

HTTP codes live in scoring/http/ only.
"""

from __future__ import annotations


class ScoringError(Exception):
    """Base of all errors of this package; ``str()`` is one line, fit for a client unless said."""


class BundleError(ScoringError):
    """What should be served cannot be read."""


class ModelLoadError(ScoringError):
    """The engine refuses the model file."""


class EngineStartError(ScoringError):
    """The engine cannot be had here: no board, another process has it, or what is to be served is
    for another one."""


class ScriptLoadError(ScoringError):
    """The script fails at ``stage``: "import", "check" or "init"."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class UnknownModelError(ScoringError):
    """There is no such model here."""

    def __init__(self, name: str, version: str | None = None) -> None:
        which = f"'{name[:100]}'" + ("" if version is None else f" version '{version[:20]}'")
        super().__init__(f"Request for unknown model: {which} is not found")


class ModelNotReadyError(ScoringError):
    """The model is there, but not loaded."""

    def __init__(self, name: str, version: str | None = None) -> None:
        which = f"'{name[:100]}'" + ("" if version is None else f" version '{version[:20]}'")
        super().__init__(f"Request for unknown model: {which} is not loaded")


class InputError(ScoringError):
    """The request's values do not fit the model."""


class BodyError(InputError):
    """The body is not what it says it is."""


class EngineError(ScoringError):
    """The engine failed on a good input."""


class WorkerDiedError(EngineError):
    """The worker process ended while it had this request."""


class EngineLostError(EngineError):
    """What computes was lost while it had these requests, or did not answer in time: none of them
    is to blame, none would do better alone, and another will take its place."""


class RunTimeoutError(EngineError):
    """The engine did not answer within ``timeout_s`` seconds and was given up."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"no answer after {timeout_s:g} s")
        self.timeout_s = timeout_s


class QuarantinedError(ScoringError):
    """This very input has ended two processes and is not tried again for a while."""

    def __init__(self) -> None:
        super().__init__(
            "this input has ended the process that scored it twice; it is not tried again"
        )


class ExpiredError(ScoringError):
    """The deadline passed while the request waited ``waited_s`` seconds: it was never run."""

    def __init__(self, waited_s: float) -> None:
        super().__init__(
            f"the deadline passed: the request had waited {waited_s * 1000:.0f} ms and was not run"
        )


class RefusedError(ScoringError):
    """Not let in; coming again makes sense after ``retry_after_s`` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFullError(RefusedError):
    """Too many requests wait already; ``retry_after_s`` is the expected time to drain them."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the queue is full", retry_after_s)


class DeadlineError(RefusedError):
    """What waits already needs longer than the deadline leaves, by ``retry_after_s`` seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            "the deadline cannot be met: what waits already takes longer", retry_after_s
        )


class DrainingError(RefusedError):
    """The server is stopping and cannot answer this in the time it has left."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the server is stopping", retry_after_s)


class UnavailableError(ScoringError):
    """Nothing can answer now: no worker is alive, or the server is stopping."""
