"""From a target to a place: which settings mean what. What only one kind needs is loaded then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from registry import Workspace
from registry.deployments import Target
from registry.errors import RegistryError
from runtime.errors import BadValueError
from runtime.submission.attaching import need_ssh
from runtime.submission.config import RunConfig
from runtime.submission.places.local import TRAITS, LocalPlace
from runtime.submission.places.port import Place

KINDS = ("local", "docker", "ssh", "spark")
"""Kinds of targets that run scripts."""
RUNS, WORK, FETCHED = "runs", ".work", ".fetched"


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


def open_place(
    workspace: Workspace, config: RunConfig, target: Target, run: str, *, is_bare: bool = False
) -> Place:
    """The place of the run with this id; it is reached now. ``is_bare``: see LocalPlace. Raises
    PlaceError."""
    sweep(workspace)
    match target.kind:
        case "docker":
            from runtime.submission.places.docker import DockerPlace

            return DockerPlace(config, target, run, lambda id: is_over(workspace, id))
        case "ssh":
            need_ssh()
            from runtime.submission.places.ssh import SshPlace

            return SshPlace(config, target, run)
    folder = workspace.root / RUNS / f"{run}{WORK}"
    if target.kind == "spark":
        from runtime.submission.places.spark import spark_place

        return spark_place(folder, target, config.spark, workspace.root, is_bare=is_bare)
    return LocalPlace(folder, replace(TRAITS, workspace=str(workspace.root)), is_bare=is_bare)


def is_over(workspace: Workspace, run: str) -> bool:
    """Whether this workspace has the run, and it has ended."""
    try:
        return workspace.tracking.runs.get(run).has_ended
    except RegistryError:
        return False


@contextmanager
def fetched_folder(workspace: Workspace, run: str) -> Iterator[Path]:
    """For what comes from the target, until it is kept."""
    folder = workspace.root / RUNS / f"{run}{FETCHED}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(workspace: Workspace) -> None:
    """Folders of runs that have ended without removing them: submitter, and here supervisor too,
    were killed."""
    for suffix in (WORK, FETCHED):
        for folder in (workspace.root / RUNS).glob(f"*{suffix}"):
            if is_over(workspace, folder.name.removesuffix(suffix)):
                shutil.rmtree(folder, ignore_errors=True)
