"""Models of a workspace elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.records import Model
from runtime.remote.client import ServiceClient
from runtime.workspace_service.routes import models as routes

Found = list[Model]


class RemoteModels:
    """As registry.models.Models."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def list(
        self, *, name: str | None = None, tags: Sequence[str] = (), latest: bool = False
    ) -> Found:
        """As Models.list."""
        return self._client.ask(routes.list_models, name=name, tags=tuple(tags), latest=latest)

    def get(self, ref: str) -> Model:
        """As Models.get."""
        return self._client.ask(routes.get, ref=ref)

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Model:
        """As Models.tag."""
        return self._client.ask(routes.tag, ref=ref, set=dict(set or {}), remove=tuple(remove))

    def describe(self, ref: str, description: str) -> Model:
        """As Models.describe."""
        return self._client.ask(routes.describe, ref=ref, description=description)

    def add_properties(self, ref: str, properties: Mapping[str, str]) -> Model:
        """As Models.add_properties."""
        return self._client.ask(routes.add_properties, ref=ref, properties=dict(properties))

    def delete(self, ref: str) -> Model:
        """As Models.delete."""
        return self._client.ask(routes.delete, ref=ref)
