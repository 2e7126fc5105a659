"""What replicas printed, read beside the controller: nothing of its is changed.

with logs_of(workspace, "web") as read:
    read("web.1.a1b2c3", 100)                # its last 100 lines
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

from edge.errors import HostError
from edge.hosts.port import InstanceId
from edge.hosts.run_folder import RunFolder
from edge.stock.port import Stock
from registry import Workspace
from runtime.deployments.engines import docker_host
from runtime.deployments.hub import hub_of, module_logs
from runtime.deployments.paths import run_folder
from runtime.deployments.replica_id import revision_of

DEVICE_S = 10.0
"""For the answer of a device."""
Read = Callable[[str, int], str]
"""The last lines of a replica, by its id or device; nothing where there is none. Raises
EdgeError."""


@contextlib.contextmanager
def logs_of(workspace: Workspace, name: str) -> Iterator[Read]:
    """For the block, whatever kind of target the deployment has. Raises NotFoundError of the
    registry, EdgeError where the target cannot be asked; of a device, which is asked through the
    hub, DeviceCommandError where it does not answer."""
    target = workspace.targets.get(workspace.deployments.get(name).target)
    if target.kind == "docker":
        host = docker_host(workspace.root, target, cast("Stock", None))  # logs need no image
        with contextlib.closing(host):
            yield lambda id, lines: host.logs(InstanceId(_checked(name, id), "live"), lines)
    elif target.kind == "edge":
        hub = hub_of(workspace.root)
        yield lambda id, lines: module_logs(hub, id, name, lines, timeout_s=DEVICE_S)
    else:
        yield lambda id, lines: _printed(workspace, target.name, _checked(name, id), lines)


def _printed(workspace: Workspace, target: str, id: str, lines: int) -> str:
    try:
        return RunFolder(run_folder(workspace.root, target, id)).last_lines(lines)
    except OSError as error:
        raise HostError(f"what {id} printed cannot be read: {error.strerror}") from error


def _checked(name: str, id: str) -> str:
    if revision_of(name, id) is None:
        raise HostError(f"{ascii(id)[:80]} is no replica of {name}")
    return id
