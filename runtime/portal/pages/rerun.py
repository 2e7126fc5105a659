"""A submitted run once more: the same files, inputs and configuration."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from registry.errors import NotFoundError
from registry.tracking import RunRecord
from runtime.errors import BadValueError
from runtime.pipelines.records import is_pipeline
from runtime.portal.answers import Answer, Go
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.submission.config import RunConfig, config_again
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.own_machine import check_local_code
from runtime.workspace_service.work import NoWork, SentAgain


@dataclass(frozen=True, slots=True)
class Again:
    """How a run was submitted. ``new``: the id that it would have this time, so that a form that is
    sent twice submits once; ``why_not``: no browser can do it."""

    target: str
    files: int
    new: str
    why_not: str


def again_of(ask: Ask, run: RunRecord) -> Again | None:
    """None: it was not submitted, or as a pipeline."""
    if is_pipeline(run):
        return None
    try:
        submission = ask.workspace.tracking.snapshots.of_run(run.id)
        config = config_again(submission.config, None)
    except (NotFoundError, BadValueError):
        return None
    return Again(
        config.target, len(submission.snapshot.files), secrets.token_hex(16), _why(ask, config)
    )


def rerun(ask: Ask) -> Answer:
    """Submit it once more."""
    sent = SentAgain(ask.text("new", limit=100), ask.arguments["id"], None, None, {})
    begun = ask.site.work.rerun(ask.call(), sent)
    return Go(url("run", workspace=ask.workspace_name, id=begun.id), "rerun")


def _why(ask: Ask, config: RunConfig) -> str:
    if isinstance(ask.site.work, NoWork):
        return "This service runs no scripts."
    if config.pass_environment:
        names = ", ".join(config.pass_environment)
        return f"The values of {names} are kept nowhere: inferry run rerun passes them anew."
    try:
        check_local_code(ask.call(), ask.workspace.targets.get(config.target))
    except NotFoundError:
        return "Its target is no longer there: inferry run rerun --target names another."
    except Fault as fault:
        return f"{str(fault)[:1].upper()}{str(fault)[1:]}."
    return ""


PLACES = (Place("POST", "run.rerun", "contributor", rerun),)
