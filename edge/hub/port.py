"""What the hub's service needs of those who decide, in other files.

Rollouts: whoever changes what a device shall run calls ``database.mark_desired`` in the same
transaction; the service then asks ``desired_for`` and publishes what has another version than it
published last. Work at intervals (rollouts, retention) is a Chore, and has a thread of its own.
"""

from __future__ import annotations

import sqlite3
from typing import Protocol

from edge.messages.desired import Desired


class DesiredFor(Protocol):
    """The state of one device: see ``edge.hub.publishing.desired_for``."""

    def __call__(self, connection: sqlite3.Connection, device: str, /) -> Desired | None:
        """What it shall run; None: nothing was ever said, and nothing is published. The same
        version means the same state. ``connection``: a reader's; nothing may be written."""
        ...


class Chore(Protocol):
    """Something that is done again and again while the hub runs."""

    @property
    def name(self) -> str:
        """For the log, and its thread."""
        ...

    @property
    def interval_s(self) -> float:
        """Between two runs."""
        ...

    def run(self, now_ms: int) -> None:
        """Once. Short, or in short transactions: ingest writes to the same database. An EdgeError
        is logged, and tried again after ``interval_s``. ``now_ms``: since 1970."""
        ...
