"""Whether clients may run code on the machine of the service."""

from __future__ import annotations

from registry.deployments import Target
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault

HERE = ("local", "spark")
"""Kinds of targets whose scripts and replicas are processes of this machine."""


def check_local_code(call: Call, target: Target) -> None:
    """Raises Fault 403 where the service's operator lets no client run code on its machine."""
    if target.kind in HERE and not call.site.allows_local_code:
        raise Fault(
            403,
            "forbidden",
            f"the target {target.name} is the service's own machine, where its operator lets no"
            " client run code (inferry registry serve --no-local-code); name another target",
        )
