"""All that a run is submitted with, looked at before there is a run.

    prepared = prepare(workspace, config, folder, inputs={}, environment=os.environ)

Nothing is written, and of the workspace only the target is asked: it may be a service's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from registry import Workspace
from registry.errors import RegistryError
from registry.git_revision import git_revision
from registry.tracking.snapshot_folder import MB, SnapshotLimits, read_folder
from registry.tracking.snapshots import Progress, Snapshot, Snapshots, Submission
from registry.tracking.words import check_path
from registry.tree import SourceFile
from runtime.errors import BadValueError
from runtime.submission.config import RunConfig
from runtime.submission.opening import check_fits
from runtime.submission.order import input_variables, passed_variables

Inputs = Mapping[str, Mapping[str, SourceFile]]
"""By name, and then by path below ``inputs/NAME``."""
Files = Mapping[str, SourceFile] | Snapshot
"""On a disk here, or in the workspace's store already."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """``passed``: the variables of ``config.pass_environment`` with their values, which are kept
    nowhere. ``notes`` say what was left out of the folder."""

    config: RunConfig
    files: Files
    inputs: Mapping[str, Files]
    passed: Mapping[str, str]
    revision: str | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Prepared({self.config.script!r}, {len(_paths(self.files))} files)"

    def keep(self, snapshots: Snapshots, run: str, on_progress: Progress) -> Submission:
        """As what the run was submitted with. Raises as ``Snapshots.keep``."""
        document = self.config.document()
        if isinstance(self.files, Snapshot):
            inputs = {k: each for k, each in self.inputs.items() if isinstance(each, Snapshot)}
            return snapshots.keep_stored(run, self.files, config=document, inputs=inputs)
        sources = {k: each for k, each in self.inputs.items() if not isinstance(each, Snapshot)}
        return snapshots.keep(
            run, self.files, config=document, inputs=sources, on_progress=on_progress
        )


def prepare(
    workspace: Workspace,
    config: RunConfig,
    folder: Path,
    *,
    inputs: Inputs,
    environment: Mapping[str, str],
) -> Prepared:
    """Of a folder. Raises BadValueError, InvalidSourceError, NotFoundError, InvalidNameError."""
    config.check()
    check_fits(config, workspace.targets.get(config.target))
    check_inputs(inputs)
    passed = passed_variables(config, environment)
    limits = SnapshotLimits(config.snapshot.max_files, config.snapshot.max_mb * MB)
    found = read_folder(folder, ignore=config.snapshot.ignore, limits=limits)
    files = {file.path: file for file in found.files}
    check_files(config, files, inputs)
    revision = None
    with suppress(RegistryError):
        revision = git_revision(folder)
    return Prepared(config, files, inputs, passed, revision, found.notes)


def prepare_stored(
    workspace: Workspace,
    config: RunConfig,
    snapshot: Snapshot,
    *,
    inputs: Mapping[str, Snapshot],
    environment: Mapping[str, str],
    revision: str | None = None,
) -> Prepared:
    """The same of files that the store has, and that something holds there."""
    config.check()
    check_fits(config, workspace.targets.get(config.target))
    by_path = {name: _paths(each) for name, each in inputs.items()}
    check_inputs(by_path)
    for path in _paths(snapshot):
        check_path(path)
    check_files(config, _paths(snapshot), by_path)
    return Prepared(config, snapshot, inputs, passed_variables(config, environment), revision)


def check_inputs(inputs: Mapping[str, Collection[str]]) -> None:
    """Names and paths. Raises BadValueError, InvalidNameError."""
    for name, files in inputs.items():
        check_path(name)
        if "/" in name:
            raise BadValueError(f"an input's name has no slash: {name!a}")
        for path in files:
            check_path(path)
    input_variables(list(inputs))


def check_files(
    config: RunConfig, paths: Collection[str], inputs: Mapping[str, Collection[str]]
) -> None:
    """That what the configuration names is in the snapshot, and that inputs have room."""
    for key, path in (("script", config.script), ("requirements", config.python.requirements)):
        if path and path not in paths:
            near = get_close_matches(path, paths, 1)
            advice = f"did you mean {near[0]}?" if near else "or an ignore file leaves it out"
            raise BadValueError(f"{key}: there is no {path!a} in the folder; {advice}")
    for name in inputs:
        if any(path == "inputs" or path.startswith(f"inputs/{name}/") for path in paths):
            raise BadValueError(
                f"the folder has an inputs/{name} of its own; name the input otherwise"
            )


def _paths(files: Files) -> Collection[str]:
    return [file.path for file in files.files] if isinstance(files, Snapshot) else files.keys()
