"""One request as a route's function sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.registry_service.request_body import RequestBody
from runtime.workspace_service.roles import Who

if TYPE_CHECKING:
    from registry import Workspace
    from runtime.workspace_service.site import Site


@dataclass(frozen=True, slots=True)
class Call:
    """``headers`` have lower-case names. ``workspace_name`` is that of the path."""

    site: Site
    workspace_name: str
    who: Who
    client: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: RequestBody

    @property
    def workspace(self) -> Workspace:
        """The one that is asked."""
        return self.site.workspace(self.workspace_name)

    @property
    def actor(self) -> str:
        """Who is written down beside a change."""
        return self.who.name
