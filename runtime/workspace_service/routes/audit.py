"""The audit log. For owners."""

from __future__ import annotations

from registry.audit import AuditEntry
from registry.errors import InvalidNameError
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route

MAX_LIMIT = 1000


def list_entries(
    call: Call, *, who: str | None = None, before: int | None = None, limit: int = 100
) -> list[AuditEntry]:
    """List who changed what, the newest first; ``before`` is the last id of the page before."""
    if not 0 < limit <= MAX_LIMIT:
        raise InvalidNameError(f"a page has 1 to {MAX_LIMIT} entries, not {limit}")
    return call.site.audit(call.workspace_name).list(who=who, before=before, limit=limit)


ROUTES = (Route("GET", "/audit", "audit.list", "owner", list_entries),)
