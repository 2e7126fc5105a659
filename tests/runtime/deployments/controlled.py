"""A controller in a thread, over a real HAProxy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import (
    Health,
    RevisionSettings,
    Rollout,
    ServiceSettings,
)
from runtime.balance.balancer import Balancer
from runtime.deployments.controller import Controller
from runtime.deployments.place import Place, ReplicaUnits
from runtime.deployments.secret_files import SecretFiles

SERVICE = ServiceSettings(rollout=Rollout(steps=(20.0, 100.0), step_s=0.5, least_requests=0))
SETTINGS = RevisionSettings(health=Health(start_s=30.0, interval_s=0.1))


@contextmanager
def controlled(
    made: Workspace, host: ProcessHost, folder: Path, metrics: tuple[str, int] | None = None
) -> Iterator[Controller]:
    units = ReplicaUnits(
        deployments=made.deployments,
        place_of=lambda target: Place(host),
        secret_files=SecretFiles(made.root / "deployments" / "secrets", None),
    )
    with Controller(made, Balancer(folder), units, tick_s=0.1, metrics=metrics) as controller:
        thread = threading.Thread(target=controller.run)
        thread.start()
        try:
            yield controller
        finally:
            controller.stop()
            thread.join(60)


@contextmanager
def removed(made: Workspace, host: ProcessHost, folder: Path) -> Iterator[None]:
    """Nothing is left behind, whatever happens within."""
    try:
        yield
    finally:
        for found in host.list():
            host.stop(found.id, 1.0)
        with Balancer(folder) as balancer:
            balancer.stop(1.0)
