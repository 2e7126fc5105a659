"""Deployments of a workspace elsewhere. Who is written down beside a change is the token's name,
whatever ``actor`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.deployments import (
    Deployment,
    Entry,
    Live,
    RevisionSettings,
    ServiceSettings,
    Share,
)
from registry.deployments.deployments import Slot
from runtime.errors import BadValueError, ScoringCallError
from runtime.remote.client import ServiceClient
from runtime.remote.pages import walk
from runtime.scoring_call import ERROR_TEXT_BYTES
from runtime.shadow.counts import Counts
from runtime.workspace_service.routes import deployments as routes

Found = list[Deployment]
Entries = list[Entry]
MAX_SENT_BYTES = 15 * 1024 * 1024
"""Less than a body of the service may have."""


class RemoteDeployments:
    """As registry.deployments.Deployments, but for what only a controller does."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def create(
        self,
        name: str,
        image: str,
        *,
        actor: str,
        target: str = "local",
        service: ServiceSettings | None = None,
        settings: RevisionSettings | None = None,
        secrets: Mapping[str, bytes] | None = None,
    ) -> Deployment:
        """As Deployments.create."""
        return self._client.ask(
            routes.create,
            name=name,
            image=image,
            target=target,
            service=service,
            settings=settings,
            secrets=dict(secrets or {}),
        )

    def update(
        self,
        name: str,
        *,
        actor: str,
        image: str | None = None,
        settings: RevisionSettings | None = None,
        service: ServiceSettings | None = None,
        shadow: float | None = None,
    ) -> Deployment:
        """As Deployments.update."""
        return self._client.ask(
            routes.update,
            name=name,
            image=image,
            settings=settings,
            service=service,
            shadow=shadow,
        )

    def rollback(self, name: str, to: str | int | None, *, actor: str) -> Deployment:
        """As Deployments.rollback."""
        return self._client.ask(routes.rollback, name=name, to=None if to is None else str(to))

    def set_traffic(
        self, name: str, traffic: Sequence[Share], *, actor: str, why: str = ""
    ) -> Deployment:
        """As Deployments.set_traffic."""
        return self._client.ask(routes.set_traffic, name=name, traffic=tuple(traffic), why=why)

    def delete(self, name: str, *, actor: str) -> Deployment:
        """As Deployments.delete."""
        return self._client.ask(routes.delete, name=name)

    def drop_revision(self, name: str, number: int, *, actor: str) -> Deployment:
        """As Deployments.drop_revision."""
        return self._client.ask(routes.drop_revision, name=name, number=number)

    def list(self) -> Found:
        """As Deployments.list."""
        return [*walk(self._client, routes.list_deployments)]

    def get(self, name: str) -> Deployment:
        """As Deployments.get."""
        return self._client.ask(routes.get, name=name)

    def set_secret(self, name: str, key: str, value: bytes, *, actor: str) -> None:
        """As Deployments.set_secret."""
        self._client.ask(routes.set_secret, name=name, key=key, value=value)

    def remove_secret(self, name: str, key: str, *, actor: str) -> None:
        """As Deployments.remove_secret."""
        self._client.ask(routes.remove_secret, name=name, key=key)

    def keys(self, name: str) -> dict[Slot, str]:
        """As Deployments.keys."""
        return self._client.ask(routes.keys, name=name)

    def renew_key(self, name: str, slot: Slot, *, actor: str) -> str:
        """As Deployments.renew_key."""
        return self._client.ask(routes.renew_key, name=name, slot=slot)

    def ledger(self, name: str | None = None, *, after: int = 0, limit: int = 1000) -> Entries:
        """As Deployments.ledger."""
        return self._client.ask(routes.ledger, name=name, after=after, limit=limit)

    def live_at(self, name: str, at: str) -> Live | None:
        """As Deployments.live_at."""
        found = self._client.ask(routes.live_at, name=name, at=at)
        return found[0] if found else None

    # What others do beside a workspace that is here.

    def logs(self, name: str, replica: str, lines: int) -> str:
        """As runtime.deployments.logs."""
        return self._client.ask(routes.logs, name=name, replica=replica, lines=lines)

    def score(self, name: str, body: bytes, *, content_type: str, timeout_s: float) -> bytes:
        """As runtime.scoring_call.call, sent on by the service. Raises ScoringCallError,
        BadValueError."""
        if len(body) > MAX_SENT_BYTES:
            raise BadValueError(
                f"the request has {len(body)} bytes, and the service sends on at most"
                f" {MAX_SENT_BYTES}; deploy {name} where you can reach it, and score its URL"
            )
        found = self._client.ask(
            routes.score,
            name=name,
            body=body,
            content_type=content_type,
            timeout_s=min(timeout_s, routes.MAX_TIMEOUT_S),
        )
        if not 200 <= found.status < 300:
            text = found.body[:ERROR_TEXT_BYTES].decode(errors="replace").strip()
            said = f"HTTP {found.status} {found.reason}" + (f": {text}" if text else "")
            raise ScoringCallError(said, status=found.status)
        if found.is_cut:
            raise ScoringCallError(
                f"the answer has more than {len(found.body)} bytes, which the service does not send"
                f" on; deploy {name} where you can reach it, and score its URL"
            )
        return found.body

    def shadow_counts(self, name: str) -> dict[str, Counts]:
        """As runtime.shadow.reading.read_counts."""
        return self._client.ask(routes.shadow_counts, name=name)

    def has_controller(self) -> bool:
        """Whether an ``inferry up`` runs beside the service."""
        return self._client.ask(routes.has_controller)
