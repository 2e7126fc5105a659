"""What a load test shall do, as the process that sends reads it from a file.

The file is its owner's alone: it has the key of the deployment.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from runtime.errors import LoadTestError


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """``rate`` None: each user sends its next request when the one before is answered; else so many
    requests are due in a second, whatever becomes of them, as far as the users suffice."""

    duration_s: float
    users: int
    rate: float | None = None


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """``url`` has a path; each request has one of the ``bodies``, in turn. ``certificate``: the
    only one to be trusted, a PEM file; the system's trust where it is None."""

    url: str
    bodies: tuple[bytes, ...]
    steps: tuple[Step, ...]
    headers: dict[str, str] = {}
    timeout_s: float = 10.0
    certificate: str | None = None
    sample_s: float = 1.0

    @property
    def users(self) -> int:
        """The most of all steps."""
        return max(step.users for step in self.steps)

    @property
    def duration_s(self) -> float:
        """Of all steps."""
        return sum(step.duration_s for step in self.steps)


def write_plan(plan: Plan, path: Path) -> None:
    """A new file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.msgpack.encode(plan))


def read_plan(path: Path) -> Plan:
    """Raises LoadTestError."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError) as error:
        raise LoadTestError(f"the plan of the load test cannot be read: {error}") from error
