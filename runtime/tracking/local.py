"""Keeps a run in a workspace on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import NoWorkspaceError, RegistryError
from registry.git_revision import git_revision
from registry.paths import DEFAULT_FOLDER, WorkspacePaths
from registry.tracking import Life, Point, RunRecord, Status, Tracking, Value
from registry.tree import SourceFile
from runtime.tracking import environment
from runtime.tracking.clock import RunClock
from runtime.tracking.keeper import Pairs
from runtime.tracking.logged import all_metrics

if TYPE_CHECKING:
    from registry.activities.log import ActivityLog
    from registry.records import Model


class LocalKeeper:
    """Keeps one run; ``life`` where it is this process's own."""

    is_offline = False

    def __init__(self, tracking: Tracking, run: RunRecord, life: Life | None) -> None:
        self.id = run.id
        self.experiment = run.experiment
        self._tracking = tracking
        self._run = run
        self._life = life
        self._clock = RunClock()
        self._log: ActivityLog | None = None

    def __repr__(self) -> str:
        return f"LocalKeeper({self._run.reference!r})"

    def record(self) -> RunRecord:
        """The run as it is."""
        return self._tracking.runs.get(self.id)

    def write(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        """One transaction."""
        self._tracking.runs.log(self.id, points=points, values=values)

    def put(self, kind: Pairs, pairs: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """One transaction."""
        if kind == "param":
            self._tracking.runs.log(self.id, params=pairs)
        elif kind == "tag":
            self._tracking.runs.tag(self.id, set=pairs, remove=removed)
        else:
            self._tracking.runs.add_properties(self.id, pairs)

    def beat(self) -> bool:
        """Say that the run lives; whether someone asked for its end."""
        if self._life is not None:
            self._life.beat(self._clock())
        try:
            return self._tracking.runs.is_cancelled(self.id)
        except RegistryError:
            return False

    def describe(self) -> None:
        """Git revision of the script, Python and packages; nothing where that cannot be kept."""
        with suppress(RegistryError):
            self._tracking.runs.describe(
                self.id,
                revision=git_revision(environment.script_folder()),
                environment=environment.environment(),
            )

    def note(self, text: str) -> None:
        """Add lines to its log."""
        if self._log is None:
            from registry.activities.log import ActivityLog  # 50 ms that few runs pay
            from registry.clock import utc_now

            self._log = ActivityLog(self._tracking.lives.log(self.id), utc_now)
        self._log.add(text)

    def upload(self, sources: Mapping[str, SourceFile]) -> None:
        """Keep files, all or none."""
        self._tracking.files.add(self.id, sources)

    def download(self, folder: str, target: Path, force: bool) -> None:
        """Write the file or the files below ``folder``, with their paths below ``target``."""
        self._tracking.files.download(self.id, target, folder=folder, force=force)

    def child(self, name: str, started_ms: int) -> LocalKeeper:
        """A child run of this process."""
        return begin(
            self._tracking, self._run.experiment_id, name, parent=self.id, started_ms=started_ms
        )

    def metrics(self) -> dict[str, Any]:
        """All that was logged, by name."""
        return all_metrics(self._tracking, self.id)

    def register_model(self, name: str, path: Path, facts: Mapping[str, Any]) -> Model:
        """Register the file or folder as a version of a model that comes from this run."""
        from registry import Workspace  # 0.2 s that a run without a model does not pay

        with Workspace.open(self._tracking.root) as workspace:
            return workspace.models.register(path, name=name, run=self.id, **facts)

    def end(self, status: Status, cause: str | None, ended_ms: int) -> None:
        """How it ended. A run that is not this process's own is left as it is."""
        if self._life is not None:
            self._tracking.runs.end(
                self.id, status, cause=cause, ended_ms=ended_ms, life=self._life
            )
            self._life = None
            self._tracking.let_go()


def begin(
    tracking: Tracking,
    experiment: str | int,
    name: str,
    *,
    parent: str | None = None,
    started_ms: int | None = None,
) -> LocalKeeper:
    """A new run of this process."""
    run, life = tracking.runs.begin(
        experiment,
        name=name,
        parent=parent,
        user=environment.user(),
        source=environment.source(),
        started_ms=started_ms,
    )
    tracking.keep()
    return LocalKeeper(tracking, run, life)


def attach(tracking: Tracking, ref: str) -> LocalKeeper:
    """A run that is there, whose end others say."""
    return LocalKeeper(tracking, tracking.runs.get(ref), None)


def open_tracking(workspace: Path | str | None) -> Tracking:
    """That of this workspace, else of $INFERRY_WORKSPACE (the caller looks), else of the nearest
    .inferry folder at or above the current one. Raises NoWorkspaceError."""
    if workspace is not None:
        return Tracking.open(workspace)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if WorkspacePaths(folder / DEFAULT_FOLDER).database.is_file():
            return Tracking.open(folder / DEFAULT_FOLDER)
    raise NoWorkspaceError("there is no workspace here; make one with: inferry init")
