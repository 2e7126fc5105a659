"""Targets: where deployments and scripts run. They name files and programs of the service's own
machine, so only an owner attaches one."""

from __future__ import annotations

from dataclasses import dataclass

from registry.deployments import Target
from registry.deployments.targets import FOR_SCRIPTS
from runtime.deployments.attaching import Found, check_target, found_at
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route


@dataclass(frozen=True, slots=True)
class Attached:
    """A target, and what answered there; None: nobody looked."""

    target: Target
    found: Found | None


def list_targets(call: Call) -> list[Target]:
    """List the targets, and the deployments that are there."""
    return call.workspace.targets.list()


def get(call: Call, *, name: str) -> Target:
    """Show a target."""
    return call.workspace.targets.get(name)


def attach(
    call: Call,
    *,
    name: str,
    kind: str,
    settings: dict[str, str] | None = None,
    is_checked: bool = True,
) -> Attached:
    """Make a target known, once something answered there, seen from the service."""
    targets = call.workspace.targets
    if kind in FOR_SCRIPTS:
        work = call.site.work
        made, words = work.attach(call, name, kind, settings or {}, is_asked=is_checked)
        return Attached(made, Found(words))
    wanted = targets.checked(name, kind, settings or {})
    check_target(wanted)
    found = found_at(call.workspace, wanted) if is_checked else None
    return Attached(targets.attach(name, kind, wanted.settings), found)


def detach(call: Call, *, name: str) -> Target:
    """Forget a target; refused while a deployment is there."""
    return call.workspace.targets.detach(name)


ROUTES = (
    Route("GET", "/targets", "targets.list", "reader", list_targets),
    Route("POST", "/targets", "targets.attach", "owner", attach, status=201),
    Route("GET", "/targets/{name}", "targets.get", "reader", get),
    Route("DELETE", "/targets/{name}", "targets.detach", "owner", detach),
)
