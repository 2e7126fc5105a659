"""The controller of this machine: hosts of the workspace's targets, HAProxy in a folder of its own.

with only_controller(workspace.root), controller_of(workspace, told=print) as controller:
    controller.run()
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.agent.assembly import module_user
from edge.errors import EdgeError
from edge.hosts.cgroup import find_cgroups
from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import Deployment, Target
from runtime.deployments.controller import Controller
from runtime.deployments.devices import DeviceUnit
from runtime.deployments.engines import docker_host, replicas_address, workspace_mark
from runtime.deployments.golden import sampler
from runtime.deployments.paths import processes_folder
from runtime.deployments.place import Place, ReplicaUnits
from runtime.deployments.port import Unit
from runtime.deployments.secret_files import SecretFiles
from runtime.deployments.stock import WorkspaceStock
from runtime.hooks.listener import listener_of
from runtime.shadow.balancing import MirroredBalancer

ROOTS_FOLDER = Path("/run/inferry")
"""HAProxy does not run as root, and cannot reach a workspace in root's home."""


def controller_of(
    workspace: Workspace,
    *,
    told: Callable[[str], None],
    metrics: tuple[str, int] | None = None,
) -> Controller:
    """``metrics``: address and port of HAProxy's own. Raises BalanceError where there is no
    HAProxy, when it is entered."""
    stock = WorkspaceStock(workspace.root)
    user = process_user(workspace.root)
    places: dict[str, tuple[Target, Place]] = {}
    finding = threading.Lock()

    def place_of(name: str) -> Place:
        """One for all deployments of a target, as long as it is the same."""
        target = replace(workspace.targets.get(name), users=())
        with finding:
            if name not in places or places[name][0] != target:
                places[name] = target, _place(workspace, target, stock, user)
            return places[name][1]

    def is_exclusive(digest: str) -> bool:
        try:
            return stock.image(digest).kind == "fpga"
        except EdgeError:
            return False  # whoever starts it says what is wrong

    replicas = ReplicaUnits(
        deployments=workspace.deployments,
        place_of=place_of,
        sample=sampler(stock),
        is_exclusive=is_exclusive,
        secret_files=SecretFiles(workspace.root / "deployments" / "secrets", user),
        listener_of=listener_of(workspace.deployments, told),
    )

    def unit_of(declared: Deployment) -> Unit:
        target = workspace.targets.get(declared.target)
        if target.kind == "edge":
            return DeviceUnit(declared.name, workspace.deployments, target, workspace.root)
        return replicas(declared)

    command = haproxy_program() or "haproxy"
    balancer = MirroredBalancer(balancer_folder(workspace.root), command=command, told=told)
    return Controller(workspace, balancer, unit_of, told=told, metrics=metrics)


def process_user(root: Path) -> tuple[int, int] | None:
    """Whom processes run as where the controller is root: another user, if that can pass through to
    the workspace and run this Python; None: as the controller."""
    user = module_user()
    try:
        ways = [os.stat(folder).st_mode & 0o001 for folder in (root, *root.resolve().parents)]
    except OSError:
        return None
    return user if user is not None and all(ways) else None


def environ_of(target: Target) -> dict[str, str]:
    """Which board, for whoever drives it."""
    names = {"board": "INFERRY_FPGA_BOARD", "python": "INFERRY_FPGA_PYTHON"}
    if target.kind != "fpga":
        return {}
    return {names[key]: value for key, value in target.settings.items() if key in names}


def haproxy_program() -> str | None:
    """Debian has it where a plain user's PATH does not lead."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which("haproxy", path=f"{path}:/usr/local/sbin:/usr/sbin")


def balancer_folder(root: Path) -> Path:
    """Where HAProxy's files are."""
    if os.geteuid() != 0:
        return root / "deployments" / "balance"
    ROOTS_FOLDER.mkdir(mode=0o755, exist_ok=True)
    return ROOTS_FOLDER / f"balance-{workspace_mark(root)}"


def _place(
    workspace: Workspace, target: Target, stock: WorkspaceStock, user: tuple[int, int] | None
) -> Place:
    """Raises EdgeError where it cannot be had."""
    if target.kind == "docker":
        host = docker_host(workspace.root, target, stock)
        return Place(host, address=replicas_address(target))
    folder = processes_folder(workspace.root, target.name)
    processes = ProcessHost(folder, stock, user=user, cgroups=find_cgroups())
    return Place(processes, environ_of(target))
