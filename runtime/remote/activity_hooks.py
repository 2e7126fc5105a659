"""Webhooks of a workspace elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from registry.activities.hooks import ENDED, ActivityHook
from runtime.remote.client import ServiceClient
from runtime.workspace_service.routes import activity_hooks as routes

Found = list[ActivityHook]


class RemoteActivityHooks:
    """As registry.activities.hooks.ActivityHooks, as far as owners have it."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def add(
        self,
        url: str,
        *,
        kinds: Sequence[str] = (),
        states: Sequence[str] = ENDED,
        secret: bytes | None = None,
        random: Callable[[int], bytes],
    ) -> tuple[ActivityHook, bytes]:
        """As ActivityHooks.add; a secret that is none is made by the service."""
        made = self._client.ask(
            routes.add,
            url=url,
            kinds=tuple(kinds),
            states=tuple(states),
            secret=None if secret is None else secret.decode(),
        )
        return made.hook, made.secret.encode() if secret is None else secret

    def list(self) -> Found:
        """As ActivityHooks.list."""
        return self._client.ask(routes.list_hooks)

    def delete(self, id: int) -> ActivityHook:
        """As ActivityHooks.delete."""
        return self._client.ask(routes.delete, id=id)
