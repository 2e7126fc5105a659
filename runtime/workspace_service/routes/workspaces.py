"""What is about the service: which workspaces it has, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from runtime.workspace_service.call import Call
from runtime.workspace_service.roles import Role
from runtime.workspace_service.route import Route


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """The service, and whom it takes the client for."""

    version: str
    workspaces: tuple[str, ...]
    default: str
    who: str
    role: Role


def info(call: Call) -> ServiceInfo:
    """Say what this service is, which workspaces it has, and who asks."""
    site = call.site
    return ServiceInfo(
        version("inferry"), tuple(site.names), site.default, call.who.name, call.who.role
    )


def workspace_info(call: Call) -> ServiceInfo:
    """Say the same, of who asks for this workspace."""
    return info(call)


ROUTES = (Route("GET", "/info", "service.info", "reader", info),)
OF_WORKSPACE = (Route("GET", "/info", "workspace.info", "reader", workspace_info),)
