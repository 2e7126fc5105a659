"""Targets of a workspace elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from registry.deployments import Target
from runtime.remote.client import ServiceClient
from runtime.workspace_service.routes import targets as routes
from runtime.workspace_service.routes.targets import Attached

Found = list[Target]


class RemoteTargets:
    """As registry.deployments.Targets."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def attach(self, name: str, kind: str, settings: Mapping[str, str] | None = None) -> Target:
        """As Targets.attach: nobody looks whether something answers there."""
        return self.attach_found(name, kind, settings, is_checked=False).target

    def attach_found(
        self, name: str, kind: str, settings: Mapping[str, str] | None, *, is_checked: bool
    ) -> Attached:
        """Make it known, once something answered there, seen from the service."""
        return self._client.ask(
            routes.attach,
            name=name,
            kind=kind,
            settings=dict(settings or {}),
            is_checked=is_checked,
        )

    def list(self) -> Found:
        """As Targets.list."""
        return self._client.ask(routes.list_targets)

    def get(self, name: str) -> Target:
        """As Targets.get."""
        return self._client.ask(routes.get, name=name)

    def detach(self, name: str) -> Target:
        """As Targets.detach."""
        return self._client.ask(routes.detach, name=name)
