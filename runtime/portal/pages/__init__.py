"""The pages, a file for each noun. ``PLACES`` has them all."""

from __future__ import annotations

from runtime.portal.pages import (
    activities,
    audit,
    comparison,
    compute,
    deployments,
    devices,
    experiments,
    formats,
    fpga,
    images,
    lineage,
    models,
    overview,
    pipelines,
    run_files,
    runs,
    service,
    tokens,
    trial,
    versions,
)

PLACES = (
    *service.PLACES,
    *overview.PLACES,
    *experiments.PLACES,
    *comparison.PLACES,
    *runs.PLACES,
    *run_files.PLACES,
    *pipelines.PLACES,
    *compute.PLACES,
    *devices.PLACES,
    *models.PLACES,
    *versions.PLACES,
    *formats.PLACES,
    *images.PLACES,
    *fpga.PLACES,
    *deployments.PLACES,
    *trial.PLACES,
    *activities.PLACES,
    *lineage.PLACES,
    *audit.PLACES,
    *tokens.PLACES,
)
