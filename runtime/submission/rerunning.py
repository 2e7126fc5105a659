"""A run again, from the snapshot that it was submitted with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from registry import Workspace
from registry.tracking import RunRecord
from runtime.submission.config import config_again
from runtime.submission.elsewhere import remote_of, rerun_elsewhere
from runtime.submission.hearing import Hearing, Wanted
from runtime.submission.preparing import Prepared, prepare_stored
from runtime.submission.submission import carry_out, check_followed

RERUN_OF = "inferry.rerun_of"
"""The property that names the first run, by its id."""


def rerun(
    workspace: Workspace,
    ref: str,
    *,
    target: str | None = None,
    name: str | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    on_begin: Callable[[RunRecord], None] = lambda run: None,
    on_phase: Callable[[str, int, int], None] = lambda phase, done, total: None,
    on_note: Callable[[str], None] = lambda line: None,
    is_followed: bool = True,
) -> RunRecord:
    """Submit the run once more: the same files, inputs and configuration, but for another
    ``target`` or ``name``. Raises NotFoundError for a run that was not submitted, and as
    ``submit``."""
    hearing = Hearing(on_line, on_begin, on_phase, on_note)
    remote = remote_of(workspace)
    if remote is not None:
        return rerun_elsewhere(
            remote, ref, target, name, hearing, environment=os.environ, is_followed=is_followed
        )
    check_followed(is_followed)
    prepared, wanted = prepare_again(
        workspace, workspace.tracking.runs.get(ref), target, name, os.environ
    )
    return carry_out(workspace, prepared, wanted, hearing)


def prepare_again(
    workspace: Workspace,
    before: RunRecord,
    target: str | None,
    name: str | None,
    environment: Mapping[str, str],
) -> tuple[Prepared, Wanted]:
    """As it was submitted before. Raises as ``rerun``."""
    submission = workspace.tracking.snapshots.of_run(before.id)
    prepared = prepare_stored(
        workspace,
        config_again(submission.config, target),
        submission.snapshot,
        inputs=submission.inputs,
        environment=environment,
        revision=before.revision,
    )
    wanted = Wanted(
        before.experiment,
        before.name if name is None else name,
        properties={RERUN_OF: before.id},
    )
    return prepared, wanted
