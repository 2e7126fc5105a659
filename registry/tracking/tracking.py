"""All that a workspace tracks: experiments, runs, their metrics and their files.

tracking = Tracking.open(Path(".inferry"))
tracking.runs.search(filter="metrics.accuracy > 0.9", order_by=["metrics.accuracy DESC"])
"""

from __future__ import annotations

from pathlib import Path

from registry.blobs import BlobStore
from registry.database import Database
from registry.errors import NoWorkspaceError
from registry.paths import WorkspacePaths
from registry.tracking.datasets import RunDatasets
from registry.tracking.distant import DistantRuns
from registry.tracking.experiments import Experiments
from registry.tracking.files import RunFiles
from registry.tracking.forks import ForkSafeDatabase
from registry.tracking.lives import Lives
from registry.tracking.logged_models import LoggedModels
from registry.tracking.metrics import Metrics
from registry.tracking.now import NowMs, now_ms
from registry.tracking.runs import Runs
from registry.tracking.snapshots import Snapshots


class Tracking:
    """The tracker of one workspace; any number of processes have one each."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        store: BlobStore,
        clock_ms: NowMs = now_ms,
    ) -> None:
        self.root = paths.root
        self.lives = Lives(paths.runs)
        self.experiments = Experiments(database, clock_ms)
        self.runs = Runs(database, self.lives, clock_ms)
        self.distant = DistantRuns(database, self.lives, clock_ms)
        self.metrics = Metrics(database)
        self.files = RunFiles(paths, database, store, clock_ms)
        self.snapshots = Snapshots(paths, database, store, clock_ms)
        self.logged_models = LoggedModels(database, clock_ms)
        self.datasets = RunDatasets(database)
        self.database = database

    @classmethod
    def open(cls, root: Path | str) -> Tracking:
        """That of the workspace at ``root``, without all else that a workspace has: a training
        script waits for its imports. Raises NoWorkspaceError."""
        paths = WorkspacePaths(Path(root).resolve())
        if not paths.database.is_file():
            raise NoWorkspaceError(f"'{root}' is no workspace; make one with: inferry init {root}")
        database = ForkSafeDatabase(paths.database)
        if not database.is_current():
            database.migrate()
        return cls(paths, database, BlobStore(paths))

    def keep(self) -> None:
        """Stay open for many writes, until ``let_go`` was called as often."""
        if isinstance(self.database, ForkSafeDatabase):
            self.database.keep()

    def let_go(self) -> None:
        """The opposite of ``keep``."""
        if isinstance(self.database, ForkSafeDatabase):
            self.database.let_go()

    def log(self, id: str, offset: int = 0) -> bytes:
        """What a run's log has from byte ``offset`` on: ask again with the next offset to follow
        it; nothing, if it has none."""
        try:
            with self.lives.log(id).open("rb") as file:
                file.seek(max(0, offset))
                return file.read()
        except FileNotFoundError:
            return b""
