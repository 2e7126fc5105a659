"""What of the service's own machine a client may use, name or see."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

import msgspec

from registry.deployments import Deployment, Hooks, ServiceSettings, Target
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.roles import allows

HERE = ("local", "spark")
"""Kinds of targets whose scripts and replicas are processes of this machine."""
HIDDEN = "..."
OWNERS = ("tls_certificate", "external_scale", "hooks")
"""Settings of a deployment that are about this machine."""


def check_local_code(call: Call, target: Target) -> None:
    """Raises Fault 403 where the service's operator lets no client run code on its machine."""
    if target.kind in HERE and not call.site.allows_local_code:
        raise Fault(
            403,
            "forbidden",
            f"the target {target.name} is the service's own machine, where its operator lets no"
            " client run code (inferry registry serve --no-local-code); name another target",
        )


def allows_engine(call: Call) -> bool:
    """Whether this client may take any image of the service's Docker Engine."""
    return call.site.allows_internal or allows(call.who.role, "owner")


def check_settings(call: Call, before: ServiceSettings, after: ServiceSettings | None) -> None:
    """Files and programs of this machine, and whom it calls, are an owner's to name. Raises Fault
    403."""
    if after is None or allows(call.who.role, "owner"):
        return
    for name in OWNERS:
        if getattr(before, name) != getattr(after, name):
            raise Fault(
                403,
                "forbidden",
                f"{name.replace('_', ' ')} is about the service's own machine: only an owner"
                " may change it",
            )


def for_reader(call: Call, found: Deployment) -> Deployment:
    """Without what a reader could use: addresses that are called may have a secret in them, and
    programs and certificates are files of this machine. Who may change them sees them."""
    if allows(call.who.role, "contributor"):
        return found
    service, hooks = found.service, found.service.hooks
    shown = Hooks(
        before_webhook=_host_of(hooks.before_webhook),
        before_command=(HIDDEN,) if hooks.before_command else (),
        after_webhook=_host_of(hooks.after_webhook),
        after_command=(HIDDEN,) if hooks.after_command else (),
        timeout_s=hooks.timeout_s,
    )
    changed = msgspec.structs.replace(
        service,
        hooks=shown,
        external_scale=_host_of(service.external_scale),
        tls_certificate=None if service.tls_certificate is None else HIDDEN,
    )
    return replace(found, service=changed)


def _host_of(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/{HIDDEN}"
