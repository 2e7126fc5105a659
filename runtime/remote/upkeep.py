"""Settings, lineage, tokens and the audit log of a workspace elsewhere."""

from __future__ import annotations

from registry.audit import AuditEntry
from registry.distribution.tokens import Role, Token
from registry.lineage import Lines
from registry.settings import FormatPolicy
from runtime.remote.client import ServiceClient
from runtime.remote.pages import walk
from runtime.workspace_service.routes import audit, images, lineage, models, tokens, upkeep

Tokens = list[Token]
Entries = list[AuditEntry]


class RemoteSettings:
    """As registry.settings.Settings."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    @property
    def base(self) -> str:
        """As Settings.base."""
        return self._client.ask(upkeep.get_settings).base

    @property
    def formats(self) -> FormatPolicy:
        """As Settings.formats."""
        return self._client.ask(upkeep.get_settings).formats

    def set_base(self, reference: str) -> None:
        """As Settings.set_base; no file of the service can be named."""
        self._client.ask(upkeep.set_base, base=reference)

    def set_formats(self, policy: FormatPolicy) -> None:
        """As Settings.set_formats; an owner's to do."""
        self._client.ask(upkeep.set_formats, formats=policy)

    def change_formats(
        self, *, pickle: bool | None = None, unknown: bool | None = None
    ) -> FormatPolicy:
        """As Settings.change_formats; an owner's to do."""
        return self._client.ask(upkeep.change_formats, pickle=pickle, unknown=unknown)


class RemoteLineage:
    """As registry.lineage.Lineage."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def of_run(self, ref: str) -> Lines:
        """As Lineage.of_run."""
        return self._client.ask(lineage.of_run, ref=ref)

    def of_model(self, ref: str) -> Lines:
        """As Lineage.of_model."""
        return self._client.ask(models.lines, ref=ref)

    def of_image(self, ref: str) -> Lines:
        """As Lineage.of_image."""
        return self._client.ask(images.lines, ref=ref)

    def of_deployment(self, name: str) -> Lines:
        """As Lineage.of_deployment."""
        return self._client.ask(lineage.of_deployment, name=name)


class RemoteTokens:
    """As registry.distribution.tokens.Tokens, as far as owners have it."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def create(self, name: str, role: Role, lifetime_s: float | None) -> str:
        """As Tokens.create."""
        return self._client.ask(tokens.create, name=name, role=role, lifetime_s=lifetime_s).token

    def list(self) -> Tokens:
        """As Tokens.list."""
        return [*walk(self._client, tokens.list_tokens)]

    def revoke(self, name: str) -> None:
        """As Tokens.revoke."""
        self._client.ask(tokens.revoke, name=name)


class RemoteAudit:
    """As registry.audit.Audit, for who reads it."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def list(
        self, *, who: str | None = None, before: int | None = None, limit: int = 100
    ) -> Entries:
        """As Audit.list."""
        return self._client.ask(audit.list_entries, who=who, before=before, limit=limit)
