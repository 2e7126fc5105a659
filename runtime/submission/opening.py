"""From a target to a place: which settings mean what. What only one kind needs is loaded then."""

from __future__ import annotations

from dataclasses import replace

from registry import Workspace
from registry.deployments import Target
from runtime.errors import BadValueError
from runtime.submission.config import DockerConfig, RunConfig, SparkConfig
from runtime.submission.places.local import TRAITS, LocalPlace
from runtime.submission.places.port import Place

KINDS = ("local", "docker", "ssh", "spark")
"""Kinds of targets that run scripts."""


def check_fits(config: RunConfig, target: Target) -> None:
    """Raises BadValueError for a kind that runs no scripts, or settings that it does not have."""
    if target.kind not in KINDS:
        raise BadValueError(
            f"the target {target.name} is of kind {target.kind}, which runs deployments but no"
            f" scripts; scripts run on {', '.join(KINDS)}"
        )
    if target.kind == "docker" and not config.docker.image:
        raise BadValueError(f"the target {target.name} is a Docker Engine: docker.image is missing")
    if target.kind != "docker" and config.docker != DockerConfig():
        raise BadValueError(f"docker: the target {target.name} is of kind {target.kind}")
    if target.kind != "spark" and config.spark != SparkConfig():
        raise BadValueError(f"spark: the target {target.name} is of kind {target.kind}")


def open_place(workspace: Workspace, config: RunConfig, target: Target, run: str) -> Place:
    """The place of the run with this id; it is reached now. Raises PlaceError, EngineError."""
    folder = workspace.root / "runs" / f"{run}.work"
    local = replace(TRAITS, workspace=str(workspace.root))
    return LocalPlace(folder, local)
