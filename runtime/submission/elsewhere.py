"""Runs of a workspace behind a URL: prepared here, carried out by the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from registry import Workspace
from registry.tracking import RunRecord
from registry.tracking.snapshots import Snapshot
from registry.tree import SourceFile
from runtime.submission.config import config_again
from runtime.submission.hearing import Hearing, Wanted
from runtime.submission.order import passed_variables
from runtime.submission.preparing import Files, Prepared

if TYPE_CHECKING:
    from runtime.remote import RemoteWorkspace

LEAST_PATIENCE_S = 60.0


def remote_of(workspace: Workspace) -> RemoteWorkspace | None:
    """The workspace of a service; None: it is here."""
    return None if isinstance(workspace, Workspace) else cast("RemoteWorkspace", workspace)


def submit_elsewhere(
    remote: RemoteWorkspace,
    prepared: Prepared,
    wanted: Wanted,
    hearing: Hearing,
    *,
    is_followed: bool,
) -> RunRecord:
    """The run, which goes on there; ``is_followed``: once it has ended."""
    for note in prepared.notes:
        hearing.note(note)
    run = remote.submissions.submit(
        config=prepared.config.document(),
        files=_on_disk(prepared.files),
        inputs={name: _on_disk(files) for name, files in prepared.inputs.items()},
        experiment=wanted.experiment,
        passed=prepared.passed,
        name=wanted.name,
        parent=wanted.parent,
        tags=wanted.tags,
        properties=wanted.properties,
        revision=prepared.revision,
        on_progress=lambda done, total: hearing.phase("Upload", done, total),
    )
    hearing.begin(run)
    if not is_followed:
        return run
    return _followed(remote, run, hearing, prepared.config.patience_s)


def rerun_elsewhere(
    remote: RemoteWorkspace,
    ref: str,
    target: str | None,
    name: str | None,
    hearing: Hearing,
    *,
    environment: Mapping[str, str],
    is_followed: bool,
) -> RunRecord:
    """The new run, as ``submit_elsewhere``."""
    config = config_again(remote.tracking.snapshots.of_run(ref).config, target)
    passed = passed_variables(config, environment)
    run = remote.submissions.rerun(ref, target=target, name=name, passed=passed)
    hearing.begin(run)
    return _followed(remote, run, hearing, config.patience_s) if is_followed else run


def _followed(
    remote: RemoteWorkspace, run: RunRecord, hearing: Hearing, patience_s: float
) -> RunRecord:
    hearing.phase("Running", 0, 0)
    return remote.submissions.followed(
        run,
        on_line=hearing.line,
        on_note=hearing.note,
        patience_s=max(LEAST_PATIENCE_S, patience_s),
    )


def _on_disk(files: Files) -> Mapping[str, SourceFile]:
    assert not isinstance(files, Snapshot), "what is in a store is no folder of this machine"
    return files
