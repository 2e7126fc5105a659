"""What is at a target, before it is attached: a mistake is found now, and not by the first
deployment.

check_target(wanted)                  # what it says makes sense
found = found_at(workspace, wanted)   # asked now
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge import conditions
from edge.errors import EdgeError, HostError, InvalidSpecError
from edge.hub import devices
from registry import Workspace
from registry.deployments import Target
from runtime.deployments.engines import engine_address, replicas_address, tried
from runtime.deployments.hub import hub_of
from runtime.errors import BadValueError

GIB = 1 << 30
Fact = str | int | float | None


@dataclass(frozen=True, slots=True)
class Found:
    """``line``: for people; ``facts``: for programs; ``warning``: it is attached all the same."""

    line: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    warning: str = ""


def check_target(wanted: Target) -> None:
    """Raises BadValueError for settings that contradict each other, or a condition that is none."""
    try:
        if wanted.kind == "docker":
            engine_address(wanted)
        elif wanted.kind == "edge":
            conditions.parse(wanted.settings["condition"])
            if int(wanted.settings.get("port", 1)) > 65_535:
                raise InvalidSpecError("a port is 1 to 65535")
    except EdgeError as error:
        raise BadValueError(str(error)) from error


def found_at(workspace: Workspace, wanted: Target) -> Found:
    """What answers. Raises BadValueError for an engine that was named and does not."""
    if wanted.kind == "docker":
        return _engine(wanted)
    return _devices(workspace, wanted) if wanted.kind == "edge" else Found()


def _engine(wanted: Target) -> Found:
    try:
        found, address = tried(wanted), replicas_address(wanted)
    except HostError as error:
        if "url" not in wanted.settings:  # this machine's may be started later
            return Found(warning=str(error))
        raise BadValueError(f"{error} (--no-check attaches it all the same)") from error
    line = (
        f"Docker {found.version}, {found.architecture}, {found.cpus} CPUs,"
        f" {found.memory_bytes / GIB:.1f} GiB of memory; replicas at {address}"
    )
    return Found(
        line,
        {
            "version": found.version,
            "architecture": found.architecture,
            "cpus": found.cpus,
            "memory_bytes": found.memory_bytes,
            "address": address,
        },
    )


def _devices(workspace: Workspace, wanted: Target) -> Found:
    is_for = conditions.parse(wanted.settings["condition"])
    try:
        with hub_of(workspace.root).reader() as connection:
            every = devices.list_devices(connection)
    except EdgeError as error:
        return Found(warning=str(error))
    met = sum(is_for(each.name, each.tags) for each in every)
    line = f"{met} of {len(every)} devices of the hub meet the condition"
    return Found(line, {"devices": met, "enrolled": len(every)})
