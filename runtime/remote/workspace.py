"""A workspace behind a URL, with the attributes of registry.Workspace.

What needs the workspace's folder itself (``root``) is refused in one line: it is run where the
folder is.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from registry.activities import OnChange
from registry.records import PurgeReport
from runtime.errors import BadValueError
from runtime.remote.activities import RemoteActivities
from runtime.remote.activity_hooks import RemoteActivityHooks
from runtime.remote.client import ServiceClient
from runtime.remote.datastores import RemoteDatastores
from runtime.remote.deployments import RemoteDeployments
from runtime.remote.images import RemoteImages
from runtime.remote.models import RemoteAliases, RemoteModels
from runtime.remote.submissions import RemoteSubmissions
from runtime.remote.targets import RemoteTargets
from runtime.remote.tracking import RemoteTracking
from runtime.remote.upkeep import RemoteAudit, RemoteLineage, RemoteSettings, RemoteTokens
from runtime.workspace_service.routes import upkeep


class RemoteWorkspace:
    """``url``: see place.py. Nothing is asked before it is needed."""

    def __init__(self, url: str, *, client: ServiceClient | None = None) -> None:
        self.client = ServiceClient.of_user(url, os.environ) if client is None else client

    def __repr__(self) -> str:
        return f"RemoteWorkspace({str(self.client.place)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()

    @property
    def root(self) -> Path:
        """There is none here. Raises BadValueError."""
        self._is_elsewhere()

    @cached_property
    def models(self) -> RemoteModels:
        """As Workspace.models."""
        return RemoteModels(self.client)

    @cached_property
    def aliases(self) -> RemoteAliases:
        """As Workspace.aliases."""
        return RemoteAliases(self.client)

    @cached_property
    def images(self) -> RemoteImages:
        """As Workspace.images."""
        return RemoteImages(self.client)

    @cached_property
    def activities(self) -> RemoteActivities:
        """As Workspace.activities."""
        return RemoteActivities(self.client)

    @cached_property
    def activity_hooks(self) -> RemoteActivityHooks:
        """Whom the workspace tells of its activities."""
        return RemoteActivityHooks(self.client)

    @cached_property
    def lineage(self) -> RemoteLineage:
        """As Workspace.lineage."""
        return RemoteLineage(self.client)

    @cached_property
    def settings(self) -> RemoteSettings:
        """As Workspace.settings."""
        return RemoteSettings(self.client)

    @cached_property
    def tokens(self) -> RemoteTokens:
        """Who may come in."""
        return RemoteTokens(self.client)

    @cached_property
    def audit(self) -> RemoteAudit:
        """Who changed what."""
        return RemoteAudit(self.client)

    def purge(self, *, dry_run: bool = False, on_change: OnChange | None = None) -> PurgeReport:
        """As Workspace.purge; how it goes, the service's activities say."""
        return self.client.ask(upkeep.purge, dry_run=dry_run)

    @property
    def cache_folder(self) -> Path:
        """Of this user, for what is fetched to be used here."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "inferry"

    @cached_property
    def tracking(self) -> RemoteTracking:
        """As Workspace.tracking."""
        return RemoteTracking(self.client)

    @cached_property
    def submissions(self) -> RemoteSubmissions:
        """Runs that the service carries out."""
        return RemoteSubmissions(self.client)

    @cached_property
    def deployments(self) -> RemoteDeployments:
        """As Workspace.deployments."""
        return RemoteDeployments(self.client)

    @cached_property
    def targets(self) -> RemoteTargets:
        """As Workspace.targets."""
        return RemoteTargets(self.client)

    @cached_property
    def datastores(self) -> RemoteDatastores:
        """As Workspace.datastores."""
        return RemoteDatastores(self.client)

    def _is_elsewhere(self) -> NoReturn:
        raise BadValueError(
            "this needs the workspace's own folder: run it on the machine of the service, with"
            " --workspace FOLDER"
        )
