"""The workspace: the top resource, a folder on disk.

with Workspace.init(Path(".inferry")) as workspace:
    workspace.models.register(Path("model.onnx"), name="digits")
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from registry.activities import Activities, OnChange
from registry.aliases import Aliases
from registry.audit import Audit
from registry.blobs import BlobStore, disk_error
from registry.clock import Clock, utc_now
from registry.database import Database
from registry.datastores import Datastores
from registry.deployments import Deployments, Targets
from registry.errors import NoWorkspaceError, WorkspaceDamagedError
from registry.images import Images
from registry.lineage import Lineage
from registry.model_names import ModelNames
from registry.models import Models
from registry.paths import DEFAULT_FOLDER, WorkspacePaths
from registry.records import PurgeReport
from registry.settings import Settings
from registry.space import Space
from registry.tracking import Tracking


class Workspace:
    """Models, images, deployments, runs and activities of one workspace. Any number of processes
    may have it open."""

    def __init__(
        self, root: Path, clock: Clock = utc_now, *, database: Database | None = None
    ) -> None:
        """``database``: a service's, which keeps connections; whoever made it closes it."""
        self.root = root
        self._paths = WorkspacePaths(root)
        self._database = database or Database(self._paths.database)
        self._store = BlobStore(self._paths)
        self.settings = Settings(self._database)
        self.activities = Activities(self._paths, self._database, clock)
        self.models = Models(self._paths, self._database, self._store, clock)
        self.model_names = ModelNames(self._database)
        self.aliases = Aliases(self._database)
        self.images = Images(
            self._paths, self._database, self._store, clock, self.settings, self.activities
        )
        self.space = Space(
            self._paths, self._database, self._store, self.activities, self.images.write_index
        )
        self.targets = Targets(self._database, clock)
        self.deployments = Deployments(self._paths, self._database, clock)
        self.datastores = Datastores(self._paths, self._database, clock)
        self.tracking = Tracking(self._paths, self._database, self._store)
        self.lineage = Lineage(self._database)
        self.audit = Audit(self._database, clock)

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing stays open between calls; ``with`` marks where a workspace is used."""

    @classmethod
    def init(
        cls, root: Path | str, *, base: str | None = None, clock: Clock = utc_now
    ) -> Workspace:
        """Make a workspace at ``root``, or open the one that is there. ``base``: what its images
        start from unless they say so, see ``Images.create``."""
        workspace = cls(Path(root).resolve(), clock)
        paths = workspace._paths
        if workspace.root.exists() and not workspace.root.is_dir():
            raise NoWorkspaceError(f"'{root}' is a file; name a folder")
        try:
            paths.leases.mkdir(parents=True, exist_ok=True)
            workspace._store.create()
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise NoWorkspaceError(f"'{root}' cannot be written; choose another folder") from error
        except OSError as error:
            raise disk_error(error) from error
        workspace._database.migrate()
        if base is not None:
            workspace.settings.set_base(str(Path(base).resolve()) if Path(base).exists() else base)
        return workspace

    @classmethod
    def open(cls, root: Path | str, *, clock: Clock = utc_now) -> Workspace:
        """The workspace at ``root``. Raises NoWorkspaceError, WorkspaceDamagedError."""
        workspace = cls(Path(root).resolve(), clock)
        if not workspace._paths.database.is_file():
            raise NoWorkspaceError(f"'{root}' is no workspace; make one with: inferry init {root}")
        if not workspace._paths.blobs.is_dir():
            raise WorkspaceDamagedError(f"the workspace '{root}' has lost its store folder")
        if not workspace._database.is_current():
            workspace._database.migrate()
        return workspace

    @classmethod
    def find(cls, start: Path | str | None = None) -> Workspace:
        """The workspace ``.inferry`` in ``start`` (default: here) or the nearest folder above."""
        here = (Path.cwd() if start is None else Path(start)).resolve()
        for folder in (here, *here.parents):
            if WorkspacePaths(folder / DEFAULT_FOLDER).database.is_file():
                return cls.open(folder / DEFAULT_FOLDER)
        raise NoWorkspaceError("there is no workspace here; make one with: inferry init")

    def purge(self, *, dry_run: bool = False, on_change: OnChange | None = None) -> PurgeReport:
        """Free what nothing uses any more, as an activity, which ``on_change`` is told of; with
        ``dry_run`` only say how much that is. Raises CancelledError; what is freed by then stays
        so."""
        return self.space.freeable() if dry_run else self.space.free(on_change)
