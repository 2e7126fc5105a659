"""Activities of a workspace elsewhere."""

from __future__ import annotations

from contextlib import suppress

from registry.activities import Activity, OnChange
from registry.activities.rows import KEPT
from registry.errors import RegistryError
from runtime.errors import InferryError
from runtime.remote.client import ServiceClient
from runtime.workspace_service.routes import activities as routes

Found = list[Activity]
LOOK_EVERY_S = 0.3


class RemoteActivities:
    """As registry.activities.Activities, but that nothing can be started."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def list(
        self, *, kind: str | None = None, running_only: bool = False, limit: int = KEPT
    ) -> Found:
        """As Activities.list."""
        return self._client.ask(
            routes.list_activities, kind=kind, running_only=running_only, limit=limit
        )

    def get(self, ref: str) -> Activity:
        """As Activities.get."""
        return self._client.ask(routes.get, ref=ref)

    def log(self, ref: str, offset: int = 0) -> bytes:
        """As Activities.log."""
        return self._client.read(routes.log, {"ref": ref, "offset": max(0, offset)})

    def cancel(self, ref: str) -> Activity:
        """As Activities.cancel."""
        return self._client.ask(routes.cancel, ref=ref)

    def resume(self, ref: str) -> Activity:
        """Begin one that a client of the service began again: the new one, which runs. Raises
        NotFoundError, and ImmutableError for one that cannot be."""
        return self._client.ask(routes.resume, ref=ref)

    def followed(self, activity: Activity, on_change: OnChange | None) -> Activity:
        """How it ended. Who is interrupted while waiting has it cancelled."""
        try:
            while activity.is_running:
                if on_change is not None:
                    on_change(activity)
                self._client.wait(LOOK_EVERY_S)
                activity = self.get(activity.id)
        except BaseException:
            with suppress(RegistryError, InferryError):
                self.cancel(activity.id)
            raise
        if on_change is not None:
            on_change(activity)
        return activity
