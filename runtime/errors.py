"""What runtime/ refuses or fails at, each with a message that a user can act on.

InferryError
├── AmbiguousTargetError     several things answer to one name
├── UnknownTargetError       nothing does
├── BadValueError            an option's or argument's value makes no sense
├── NoCompilerError          nothing here can compile for an FPGA
├── NoBoardError             nothing here can simulate a board, or a run on one
├── DeviceCommandError       a device did not answer, or refused
├── BusyControllerError      another controller of the workspace runs
├── DeploymentFailedError    a deployment is not as it was declared
├── NoLocustError            nothing here can test under load
├── LoadTestError            a load test could not be carried out
├── ScoringCallError         a server could not be reached, or refused
└── ServiceError             a workspace's service could not be reached, or refused
"""

from __future__ import annotations


class InferryError(Exception):
    """Base of this package's errors."""


class AmbiguousTargetError(InferryError):
    """Several things answer to one name; ``candidates`` are the forms that tell them apart."""

    def __init__(self, what: str, candidates: list[str]) -> None:
        self.candidates = candidates
        super().__init__(f"'{what}' could mean several things; say {' or '.join(candidates)}")


class UnknownTargetError(InferryError):
    """Neither a file nor a name in the workspace."""


class BadValueError(InferryError):
    """An option's or argument's value makes no sense."""


class NoCompilerError(InferryError):
    """Nothing here can compile for an FPGA."""


class NoBoardError(InferryError):
    """Nothing here can simulate a board, or a run on one."""


class DeviceCommandError(InferryError):
    """A device did not answer a command, or refused it."""


class BusyControllerError(InferryError):
    """Another controller of the workspace runs."""


class DeploymentFailedError(InferryError):
    """A deployment is not as it was declared; ``log``: the last lines of a replica."""

    def __init__(self, message: str, *, log: str = "") -> None:
        self.log = log
        super().__init__(message)


class NoLocustError(InferryError):
    """locust is not installed."""


class LoadTestError(InferryError):
    """A load test could not be carried out; what failed under load is a result, and no error."""


class ScoringCallError(InferryError):
    """The scoring server could not be reached or answered with an error; ``status`` is its code."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class ServiceError(InferryError):
    """The service of a workspace could not be reached, or refused; ``status`` is its answer's.
    ``was_not_sent``: it cannot have begun to do what it was asked for. ``is_passing``: a moment
    later it may do it."""

    status: int | None = None
    was_not_sent = False
    is_passing = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        was_not_sent: bool = False,
        is_passing: bool = False,
    ) -> None:
        self.status = status
        self.was_not_sent = was_not_sent
        self.is_passing = is_passing or was_not_sent
        super().__init__(message)
