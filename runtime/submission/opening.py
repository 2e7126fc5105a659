"""From a target to a place: which settings mean what. What only one kind needs is loaded then."""

from __future__ import annotations

import shutil
from dataclasses import replace

from registry import Workspace
from registry.deployments import Target
from registry.errors import RegistryError
from runtime.errors import BadValueError
from runtime.submission.config import RunConfig
from runtime.submission.places.local import TRAITS, LocalPlace
from runtime.submission.places.port import Place

KINDS = ("local", "docker", "ssh", "spark")
"""Kinds of targets that run scripts."""
RUNS, WORK = "runs", ".work"


def check_fits(config: RunConfig, target: Target) -> None:
    """Raises BadValueError for a kind that runs no scripts, or lacks what it needs. Parts for other
    kinds say nothing here: one configuration may serve several targets."""
    if target.kind not in KINDS:
        raise BadValueError(
            f"the target {target.name} is of kind {target.kind}, which runs deployments but no"
            f" scripts; scripts run on {', '.join(KINDS)}"
        )
    if target.kind == "docker" and not config.docker.image:
        raise BadValueError(f"the target {target.name} is a Docker Engine: docker.image is missing")


def open_place(workspace: Workspace, config: RunConfig, target: Target, run: str) -> Place:
    """The place of the run with this id; it is reached now. Raises PlaceError."""
    match target.kind:
        case "docker":
            from runtime.submission.places.docker import DockerPlace

            return DockerPlace(config, target, run, lambda id: is_over(workspace, id))
        case _:
            sweep(workspace)
            local = replace(TRAITS, workspace=str(workspace.root))
            return LocalPlace(workspace.root / RUNS / f"{run}{WORK}", local)


def is_over(workspace: Workspace, run: str) -> bool:
    """Whether this workspace has the run, and it has ended."""
    try:
        return workspace.tracking.runs.get(run).has_ended
    except RegistryError:
        return False


def sweep(workspace: Workspace) -> None:
    """Folders of runs here that have ended without removing them: submitter and supervisor were
    killed at once."""
    for folder in (workspace.root / RUNS).glob(f"*{WORK}"):
        if is_over(workspace, folder.name.removesuffix(WORK)):
            shutil.rmtree(folder, ignore_errors=True)
