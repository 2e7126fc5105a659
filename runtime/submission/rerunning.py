"""A run again, from the snapshot that it was submitted with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from registry import Workspace, tree
from registry.folders import write_file
from registry.tracking import RunRecord
from registry.tracking.snapshots import Snapshot, Snapshots
from registry.tree import SourceFile
from runtime.submission.config import from_document
from runtime.submission.submission import submit

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
) -> RunRecord:
    """Submit the run once more: the same files, inputs and configuration, but for another
    ``target`` or ``name``. Raises NotFoundError for a run that was not submitted, and as
    ``submit``."""
    tracking = workspace.tracking
    before = tracking.runs.get(ref)
    submission = tracking.snapshots.of_run(before.id)
    config = from_document(submission.config)
    if target is not None:
        config = msgspec.structs.replace(config, target=target)
    with tempfile.TemporaryDirectory(prefix="inferry-") as temporary:
        top = Path(temporary)
        tracking.snapshots.download(before.id, top / "code")
        inputs = {
            each: _written(tracking.snapshots, snapshot, top / f"input-{number}")
            for number, (each, snapshot) in enumerate(submission.inputs.items())
        }
        return submit(
            workspace,
            config,
            top / "code",
            experiment=before.experiment,
            name=before.name if name is None else name,
            properties={RERUN_OF: before.id},
            inputs=inputs,
            on_line=on_line,
            on_begin=on_begin,
            on_phase=on_phase,
            on_note=on_note,
        )


def _written(snapshots: Snapshots, snapshot: Snapshot, folder: Path) -> Mapping[str, SourceFile]:
    with snapshots.held():
        for file in snapshot.files:
            chunks = snapshots.chunks(file)
            write_file(folder / file.path, chunks, is_executable=file.is_executable)
    return {file.path: file for file in tree.walk(folder)} if snapshot.files else {}
