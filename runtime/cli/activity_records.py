"""Activities as commands print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.cli.output import Record

if TYPE_CHECKING:
    from registry.activities import Activity


def record(item: Activity) -> Record:
    """An activity as JSON has it."""
    return {
        "id": item.id,
        "kind": item.kind,
        "subject": item.subject,
        "state": item.state,
        "phase": item.phase,
        "done": item.done,
        "total": item.total,
        "cause": item.cause,
        "started_at": item.started_at,
        "ended_at": item.ended_at,
        "begun_by": item.begun_by,
        "resumes": item.resumes,
        "resumed_by": item.resumed_by,
    }
