"""The routes, a file for each noun. ``TABLE`` has them all."""

from __future__ import annotations

from runtime.workspace_service.routes import audit, models, tokens, uploads, workspaces
from runtime.workspace_service.table import Table

TABLE = Table(
    of_service=workspaces.ROUTES,
    of_workspace=(*models.ROUTES, *uploads.ROUTES, *tokens.ROUTES, *audit.ROUTES),
)
