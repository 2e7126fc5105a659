"""Datastores: named places for files. Secrets go in and never come out; a folder of the service's
own machine, and a server in its network, is an owner's to name.

What another one attaches is bound to public addresses by its own setting ``reach``: whoever uses it
later, and from where, is connected to nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from registry.datastores import Datastore
from runtime.datastores import Datastore as OpenDatastore
from runtime.datastores import InsideError
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.roles import allows
from runtime.workspace_service.route import Route


def list_datastores(call: Call) -> list[Datastore]:
    """List the datastores."""
    return call.workspace.datastores.list()


def get(call: Call, *, name: str) -> Datastore:
    """Show a datastore; of secrets only the names."""
    return call.workspace.datastores.get(name)


def get_default(call: Call) -> Datastore:
    """Show the datastore that is meant where none is named."""
    return call.workspace.datastores.get_default()


def attach(
    call: Call,
    *,
    name: str,
    kind: str,
    settings: dict[str, str] | None = None,
    secrets: dict[str, bytes] | None = None,
    replace: bool = False,
) -> Datastore:
    """Make a datastore known, once it has answered to the service. Secrets are base64 in JSON."""
    workspace = call.workspace
    workspace.datastores.check(name, kind, settings, secrets)
    try:
        OpenDatastore.attach(
            workspace,
            name,
            kind,
            _bounded(call, kind, settings or {}),
            secrets,
            replace=replace,
            known_hosts=None,
            resolve=call.site.resolve,
        ).close()
    except InsideError as error:
        raise Fault(403, "forbidden", str(error)) from error
    return workspace.datastores.get(name)


def set_default(call: Call, *, name: str) -> Datastore:
    """Make a datastore the one that is meant where none is named."""
    return call.workspace.datastores.set_default(name)


def detach(call: Call, *, name: str) -> Datastore:
    """Forget a datastore and its secrets; its files stay where they are."""
    return call.workspace.datastores.detach(name)


def _bounded(call: Call, kind: str, settings: Mapping[str, str]) -> Mapping[str, str]:
    """The settings that who asks may have. Raises Fault 403, DatastoreErrors."""
    if kind == "file" and not call.site.allows_local_code:  # who writes files can run code
        raise Fault(
            403,
            "forbidden",
            "a folder of the service's own machine, where its operator lets no client run code"
            " (inferry registry serve --no-local-code): attach it there",
        )
    if allows(call.who.role, "owner"):
        if kind == "file":
            call.site.datastores.check_folder(Path(settings["path"]))
        return settings
    if kind == "file":
        raise Fault(
            403, "forbidden", "a folder of the service's own machine: only an owner may name it"
        )
    return settings if call.site.allows_internal else {**settings, "reach": "public"}


ROUTES = (
    Route("GET", "/datastores", "datastores.list", "reader", list_datastores),
    Route("POST", "/datastores", "datastores.attach", "contributor", attach, status=201),
    Route("GET", "/datastores/{name}", "datastores.get", "reader", get),
    Route("DELETE", "/datastores/{name}", "datastores.detach", "contributor", detach),
    Route("GET", "/default-datastore", "datastores.get_default", "reader", get_default),
    Route("PUT", "/default-datastore", "datastores.set_default", "contributor", set_default),
)
