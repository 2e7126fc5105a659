"""What another process can see of an agent: its last report, and what it shall run."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from edge.agent.state import DATABASE
from edge.errors import InvalidMessageError
from edge.messages.codec import decode, encode
from edge.messages.desired import Desired
from edge.messages.reported import Reported

REPORTED_FILE = "reported.json"


def keep_report(folder: Path, report: Reported) -> None:
    """Old or new, at any moment; lost with the power, as the next one comes soon."""
    fresh = folder / f".{REPORTED_FILE}"
    with contextlib.suppress(OSError):
        fresh.write_bytes(encode(report))
        os.replace(fresh, folder / REPORTED_FILE)


def kept_report(folder: Path) -> Reported | None:
    """None: there is none that can be read."""
    with contextlib.suppress(OSError, InvalidMessageError):
        return decode((folder / REPORTED_FILE).read_bytes(), Reported)
    return None


def kept_desired(folder: Path) -> Desired | None:
    """None: there is none that can be read."""
    path = folder / DATABASE
    if not path.exists():
        return None
    with (
        contextlib.suppress(sqlite3.Error, InvalidMessageError),
        contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as connection,
    ):
        row = connection.execute("SELECT document FROM agent_desired").fetchone()
        return None if row is None else decode(row[0], Desired, max_bytes=len(row[0]))
    return None
