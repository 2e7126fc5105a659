"""A module as it is reported. Pure."""

from __future__ import annotations

from edge.keeping.port import LiveView
from edge.messages.desired import Module
from edge.messages.reported import ModuleReport, Phase
from edge.switch.machine import COMMITTED, State
from edge.switch.record import Record
from edge.switch.tools import Progress


def describe(
    name: str,
    record: Record,
    wanted: Module | None,
    view: LiveView,
    progress: Progress,
    *,
    is_forgiven: bool = False,
) -> ModuleReport:
    """``view``: of the live instance. What failed is said as long as it is what is wanted, and is
    not to be tried again."""
    live = record.live
    is_failed = record.at is State.FAILED and not is_forgiven and wanted in (None, record.failed)
    error = progress.error or (record.error if is_failed else None)
    return ModuleReport(
        name=name,
        image=live.module.image if live is not None else None,
        digest=live.module.digest if live is not None and view.digest is not None else None,
        wanted=wanted.digest if wanted is not None else None,
        phase=_phase(record, wanted, is_failed),
        health=view.health,
        host=live.host if live is not None else None,
        restarts=view.restarts,
        started_at_ms=None if view.started_at_s is None else round(view.started_at_s * 1000),
        exit_code=view.exit_code,
        waiting_for=progress.waiting_for,
        done_bytes=progress.done_bytes,
        total_bytes=progress.total_bytes,
        error=error or view.error,
        check=record.check if is_failed else None,
        previous=record.previous.module.image if record.previous is not None else None,
        port=view.port,
    )


def _phase(record: Record, wanted: Module | None, is_failed: bool) -> Phase:
    if is_failed or record.at not in COMMITTED:
        return record.at.phase
    is_there = wanted is None or (record.live is not None and record.live.module == wanted)
    if not is_there:
        return "waiting"
    return "watching" if record.is_on_trial else "idle"
