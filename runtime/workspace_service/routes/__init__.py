"""The routes, a file for each noun. ``TABLE`` has them all."""

from __future__ import annotations

from runtime.workspace_service.routes import (
    activities,
    activity_hooks,
    audit,
    datastore_files,
    datastores,
    deployments,
    experiments,
    images,
    lineage,
    metrics,
    models,
    pipelines,
    run_files,
    runs,
    submissions,
    targets,
    tokens,
    upkeep,
    uploads,
    workspaces,
)
from runtime.workspace_service.table import Table

TABLE = Table(
    of_service=workspaces.ROUTES,
    of_workspace=(
        *workspaces.OF_WORKSPACE,
        *models.ROUTES,
        *images.ROUTES,
        *uploads.ROUTES,
        *activities.ROUTES,
        *activity_hooks.ROUTES,
        *lineage.ROUTES,
        *upkeep.ROUTES,
        *experiments.ROUTES,
        *runs.ROUTES,
        *submissions.ROUTES,
        *pipelines.ROUTES,
        *metrics.ROUTES,
        *run_files.ROUTES,
        *deployments.ROUTES,
        *targets.ROUTES,
        *datastores.ROUTES,
        *datastore_files.ROUTES,
        *tokens.ROUTES,
        *audit.ROUTES,
    ),
)
