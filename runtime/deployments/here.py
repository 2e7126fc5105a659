"""The controller of this machine: hosts of the workspace's targets, HAProxy in a folder of its own.

    with only_controller(workspace.root), controller_of(workspace, told=print) as controller:
        controller.run()

<workspace>/deployments/
    controller.lock          of the one controller
    bundles/                 unpacked images
    processes/<target>/      process replicas of a local or fpga target (edge/hosts/processes.py)
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

from edge.agent.assembly import module_user
from edge.errors import EdgeError, HostError
from edge.hosts.cgroup import find_cgroups
from edge.hosts.containers import DockerHost
from edge.hosts.port import ModuleHost
from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import Target
from runtime.balance.balancer import Balancer
from runtime.deployments.controller import Controller
from runtime.deployments.golden import sampler
from runtime.deployments.stock import WorkspaceStock

LIST_AGE_S = 0.3
"""How old may be what an engine said of its containers: each replica has a keeper that asks."""
ROOTS_FOLDER = Path("/run/inferry")
"""HAProxy does not run as root, and cannot reach a workspace in root's home."""


def controller_of(workspace: Workspace, *, told: Callable[[str], None]) -> Controller:
    """Raises BalanceError where there is no HAProxy, when it is entered."""
    stock = WorkspaceStock(workspace.root)
    hosts: dict[str, ModuleHost] = {}

    def host_of(name: str) -> ModuleHost:
        if name not in hosts:
            hosts[name] = _host(workspace, workspace.targets.get(name), stock)
        return hosts[name]

    def is_exclusive(digest: str) -> bool:
        try:
            return stock.image(digest).kind == "fpga"
        except EdgeError:
            return False  # whoever starts it says what is wrong

    balancer = Balancer(balancer_folder(workspace.root), told=told)
    return Controller(
        workspace, balancer, host_of, sample=sampler(stock), is_exclusive=is_exclusive, told=told
    )


def balancer_folder(root: Path) -> Path:
    """Where HAProxy's files are."""
    if os.geteuid() != 0:
        return root / "deployments" / "balance"
    ROOTS_FOLDER.mkdir(mode=0o755, exist_ok=True)
    return ROOTS_FOLDER / f"balance-{workspace_mark(root)}"


def workspace_mark(root: Path) -> str:
    """A short name that no other workspace of this machine has, most probably."""
    return f"{zlib.crc32(os.fsencode(root.resolve())):08x}"


def _host(workspace: Workspace, target: Target, stock: WorkspaceStock) -> ModuleHost:
    if target.kind in ("local", "fpga"):
        folder = workspace.root / "deployments" / "processes" / target.name
        return ProcessHost(folder, stock, user=module_user(), cgroups=find_cgroups())
    if target.kind == "docker" and not target.settings.get("url"):
        name = f"ws-{workspace_mark(workspace.root)}-{target.name}"
        return DockerHost(name, stock, list_age_s=LIST_AGE_S)
    what = "another machine's Docker Engine" if target.kind == "docker" else target.kind
    raise HostError(f"a deployment cannot run on {what} yet: target {target.name}")
