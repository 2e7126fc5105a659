"""The hub of a workspace, beside the process that runs it: its database, whether one runs, and what
modules of devices printed.

<workspace>/edge/
    hub.db          what devices shall run, and what they say
    hub.beat        changed by a hub that runs, every few seconds
"""

from __future__ import annotations

import time
from pathlib import Path

from edge.hub import command_queue
from edge.hub.database import Database
from edge.hub.heartbeat import silent_s
from runtime.edge_hub import BEAT, edge_folder
from runtime.errors import DeviceCommandError

SILENT_S = 30.0
"""Without a beat for so long, no hub runs."""
GRACE_S = 3.0
"""For the answer to a command that came just in time."""


def hub_of(root: Path) -> Database:
    """The database of a workspace's hub, made when it is not there. Raises HubError."""
    database = Database(edge_folder(root) / "hub.db")
    database.migrate()
    return database


def why_silent(root: Path, now_s: float | None = None) -> str | None:
    """That no hub runs, in words; None: one does. ``now_s``: since 1970."""
    passed_s = silent_s(edge_folder(root) / BEAT, now_s)
    if passed_s is None:
        return "no hub has run yet: inferry edge hub"
    if passed_s < SILENT_S:
        return None
    return f"no hub has run for {_span(passed_s)}: inferry edge hub"


def module_logs(
    database: Database, device: str, module: str, lines: int, *, timeout_s: float
) -> str:
    """What it printed last, asked now. Raises DeviceCommandError where it says nothing,
    EdgeError."""
    now_ms = time.time_ns() // 1_000_000
    arguments = {"module": module, "lines": lines}
    id = command_queue.send(database, device, "logs", arguments, now_ms=now_ms, expires_s=timeout_s)
    outcome = command_queue.wait(database, id, timeout_s=timeout_s + GRACE_S)
    if outcome.ok is None:
        raise DeviceCommandError(
            f"{device} did not answer within {timeout_s:g} s; try again when it is there:"
            f" inferry edge logs {device} {module}, or look at its own log"
        )
    if not outcome.ok:
        raise DeviceCommandError(f"{device}: {outcome.error or 'it failed without a message'}")
    return outcome.text


def _span(passed_s: float) -> str:
    """``90`` as ``90 s``, days as ``3 days``."""
    for size_s, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if passed_s >= 2 * size_s:
            return f"{passed_s / size_s:.0f} {unit}"
    return f"{passed_s:.0f} s"
