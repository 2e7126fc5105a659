"""Datastores of a workspace elsewhere: their names and settings. Secrets go in and never come out:
files go through the service."""

from __future__ import annotations

from collections.abc import Mapping

from registry.datastores import Datastore
from runtime.datastores.port import Files
from runtime.errors import BadValueError
from runtime.remote.client import ServiceClient
from runtime.remote.datastore_files import ServiceFiles
from runtime.workspace_service.routes import datastores as routes

Found = list[Datastore]


class RemoteDatastores:
    """As registry.datastores.Datastores."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def attach(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        *,
        replace: bool = False,
    ) -> Datastore:
        """As Datastores.attach, once it has answered to the service."""
        return self._client.ask(
            routes.attach,
            name=name,
            kind=kind,
            settings=dict(settings or {}),
            secrets=dict(secrets or {}),
            replace=replace,
        )

    def list(self) -> Found:
        """As Datastores.list."""
        return self._client.ask(routes.list_datastores)

    def get(self, name: str) -> Datastore:
        """As Datastores.get."""
        return self._client.ask(routes.get, name=name)

    def get_default(self) -> Datastore:
        """As Datastores.get_default."""
        return self._client.ask(routes.get_default)

    def set_default(self, name: str) -> Datastore:
        """As Datastores.set_default."""
        return self._client.ask(routes.set_default, name=name)

    def detach(self, name: str) -> Datastore:
        """As Datastores.detach."""
        return self._client.ask(routes.detach, name=name)

    def secrets(self, name: str) -> dict[str, bytes]:
        """No service gives them out. Raises BadValueError."""
        raise BadValueError(
            f"the secrets of the datastore {name!a} stay with the service, which moves its files"
        )

    def open_files(self, record: Datastore) -> Files:
        """Its files, as the service moves them."""
        return ServiceFiles(self._client, record)
