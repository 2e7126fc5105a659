"""Deployments: what is declared here, ``inferry up`` beside the service makes so.

Who is written down beside a change is who asks, whatever a client says. Secrets go in and never
come out. The keys open the deployment itself, so whoever may change it may have them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edge.errors import EdgeError
from registry.deployments import (
    Deployment,
    Entry,
    Live,
    RevisionSettings,
    ServiceSettings,
    Share,
)
from registry.deployments.deployments import Slot
from registry.errors import InvalidNameError
from registry.pages import MAX_LIMIT, Page
from runtime.errors import BadValueError, DeploymentFailedError, DeviceCommandError
from runtime.scoring_relay import Relayed, post, seen_at, trusted
from runtime.shadow.counts import Counts
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.own_machine import check_local_code, check_settings, for_reader
from runtime.workspace_service.route import Route

PAGE = 1000
_ONE = "/deployments/{name}"
MAX_LINES = 5000
MAX_TIMEOUT_S = 240.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
RELAYED_AT_ONCE = 8
"""Each holds a thread of the service."""
_relays = threading.BoundedSemaphore(RELAYED_AT_ONCE)
READERS_AT_ONCE = 8
"""A device that is silent holds a thread for ten seconds."""
_readers = threading.BoundedSemaphore(READERS_AT_ONCE)


def list_deployments(
    call: Call, *, limit: int = MAX_LIMIT, token: str | None = None
) -> Page[Deployment]:
    """List deployments, and how they are, a page at a time."""
    page = call.workspace.deployments.page(limit=limit, token=token)
    return Page(tuple(for_reader(call, each) for each in page.items), page.next_token)


def get(call: Call, *, name: str) -> Deployment:
    """Show a deployment: never its keys, and of secrets only the names. Of the addresses that it
    calls a reader sees the hosts."""
    return for_reader(call, call.workspace.deployments.get(name))


def create(
    call: Call,
    *,
    name: str,
    image: str,
    target: str = "local",
    service: ServiceSettings | None = None,
    settings: RevisionSettings | None = None,
    secrets: dict[str, bytes] | None = None,
) -> Deployment:
    """Declare a deployment."""
    check_settings(call, ServiceSettings(), service)
    check_local_code(call, call.workspace.targets.get(target))
    return call.workspace.deployments.create(
        name,
        image,
        actor=call.actor,
        target=target,
        service=service,
        settings=settings,
        secrets=secrets,
    )


def update(
    call: Call,
    *,
    name: str,
    image: str | None = None,
    settings: RevisionSettings | None = None,
    service: ServiceSettings | None = None,
    shadow: float | None = None,
) -> Deployment:
    """Declare another image or other settings; with ``shadow`` the new revision gets a copy of so
    many percent of the requests."""
    deployments = call.workspace.deployments
    found = deployments.get(name)
    check_settings(call, found.service, service)
    if image is not None:
        check_local_code(call, call.workspace.targets.get(found.target))
    return deployments.update(
        name, actor=call.actor, image=image, settings=settings, service=service, shadow=shadow
    )


def rollback(call: Call, *, name: str, to: str | None = None) -> Deployment:
    """Go back to an earlier revision: by its number, image or digest; the one before the goal."""
    return call.workspace.deployments.rollback(name, to, actor=call.actor)


def set_traffic(call: Call, *, name: str, traffic: tuple[Share, ...], why: str = "") -> Deployment:
    """Split the traffic between revisions; 100 percent in all, besides shadows."""
    return call.workspace.deployments.set_traffic(name, traffic, actor=call.actor, why=why)


def delete(call: Call, *, name: str) -> Deployment:
    """Stop a deployment and forget it; its ledger stays."""
    return call.workspace.deployments.delete(name, actor=call.actor)


def drop_revision(call: Call, *, name: str, number: int) -> Deployment:
    """Forget an old revision, which frees its image for deletion."""
    return call.workspace.deployments.drop_revision(name, number, actor=call.actor)


def set_secret(call: Call, *, name: str, key: str, value: bytes) -> None:
    """Set a secret of a deployment (base64 in JSON); no route gives one back."""
    call.workspace.deployments.set_secret(name, key, value, actor=call.actor)


def remove_secret(call: Call, *, name: str, key: str) -> None:
    """Remove a secret; refused while a revision in service has it."""
    call.workspace.deployments.remove_secret(name, key, actor=call.actor)


def keys(call: Call, *, name: str) -> dict[Slot, str]:
    """Show the two keys that open a deployment."""
    return call.workspace.deployments.keys(name)


def renew_key(call: Call, *, name: str, slot: Slot) -> str:
    """Make one of the two keys anew; the other one opens on."""
    return call.workspace.deployments.renew_key(name, slot, actor=call.actor)


def ledger(
    call: Call, *, name: str | None = None, after: int = 0, limit: int = PAGE
) -> list[Entry]:
    """Say who changed what and when, also of deployments that are gone; ``after`` is the last id
    of the page before."""
    if not 0 < limit <= PAGE:
        raise InvalidNameError(f"a page has 1 to {PAGE} entries, not {limit}")
    return call.workspace.deployments.ledger(name, after=after, limit=limit)


def live_at(call: Call, *, name: str, at: str) -> list[Live]:
    """Say what got the traffic at a time (UTC, ISO 8601): one entry, or none."""
    found = call.workspace.deployments.live_at(name, at)
    return [] if found is None else [found]


def logs(call: Call, *, name: str, replica: str, lines: int = 100) -> str:
    """Read the last lines that a replica printed."""
    if not 0 < lines <= MAX_LINES:
        raise InvalidNameError(f"ask for 1 to {MAX_LINES} lines, not {lines}")
    try:
        from runtime.deployments.logs import logs_of  # 0.2 s that a client does not pay

        with _place(_readers), logs_of(call.workspace, name) as read:
            return read(replica, lines)
    except EdgeError as error:
        raise DeviceCommandError(str(error)) from error


@contextmanager
def _place(places: threading.BoundedSemaphore) -> Iterator[None]:
    """One of few. Raises Fault 503 when none is free."""
    if not places.acquire(blocking=False):
        raise Fault(503, "busy", "others are asking just now; try again", {"Retry-After": "2"})
    try:
        yield
    finally:
        places.release()


def score(
    call: Call,
    *,
    name: str,
    body: bytes,
    content_type: str = "application/json",
    timeout_s: float = 60.0,
) -> Relayed:
    """Send a request (base64 in JSON) on to a deployment, where the service sees it, and give its
    answer."""
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise BadValueError(f"wait for up to {MAX_TIMEOUT_S:g} s, not {timeout_s:g}")
    if not content_type.isascii() or not content_type.isprintable():
        raise BadValueError("the content type is none")
    found = call.workspace.deployments.get(name)
    address = seen_at(found)
    if address is None:
        raise DeploymentFailedError(f"{name} has no URL now")
    with _place(_relays):
        key = call.workspace.deployments.keys(name)["primary"] if found.service.is_keyed else None
        return post(
            address,
            body,
            content_type=content_type,
            key=key,
            tls=trusted(found),
            timeout_s=timeout_s,
            most_bytes=MAX_ANSWER_BYTES,
        )


def shadow_counts(call: Call, *, name: str) -> dict[str, Counts]:
    """Say how the answers of a deployment's shadows compare, by version."""
    call.workspace.deployments.get(name)
    from runtime.deployments.here import balancer_folder  # 0.8 s that a client does not pay
    from runtime.shadow.reading import read_counts

    return read_counts(balancer_folder(call.workspace.root), name)


def has_controller(call: Call) -> bool:
    """Say whether an ``inferry up`` runs beside the service."""
    from runtime.deployments.controller import is_controlled  # 0.2 s

    return is_controlled(call.workspace.root)


ROUTES = (
    Route("GET", "/deployments", "deployments.list", "reader", list_deployments),
    Route("POST", "/deployments", "deployments.create", "contributor", create, status=201),
    Route("GET", _ONE, "deployments.get", "reader", get),
    Route("PATCH", _ONE, "deployments.update", "contributor", update),
    Route("DELETE", _ONE, "deployments.delete", "contributor", delete),
    Route("POST", f"{_ONE}/rollback", "deployments.rollback", "contributor", rollback),
    Route("PUT", f"{_ONE}/traffic", "deployments.traffic", "contributor", set_traffic),
    Route(
        "DELETE",
        f"{_ONE}/revisions/{{number}}",
        "deployments.drop_revision",
        "contributor",
        drop_revision,
    ),
    Route("PUT", f"{_ONE}/secrets/{{key}}", "deployments.set_secret", "contributor", set_secret),
    Route(
        "DELETE",
        f"{_ONE}/secrets/{{key}}",
        "deployments.remove_secret",
        "contributor",
        remove_secret,
    ),
    Route("GET", f"{_ONE}/keys", "deployments.keys", "contributor", keys, is_audited=True),
    Route("POST", f"{_ONE}/keys/{{slot}}", "deployments.renew_key", "contributor", renew_key),
    Route("GET", f"{_ONE}/live", "deployments.live_at", "reader", live_at),
    Route("GET", f"{_ONE}/logs", "deployments.logs", "reader", logs),
    # It changes nothing, and may come often.
    Route("POST", f"{_ONE}/score", "deployments.score", "contributor", score, is_audited=False),
    Route("GET", f"{_ONE}/shadows", "deployments.shadows", "reader", shadow_counts),
    Route("GET", "/ledger", "deployments.ledger", "reader", ledger),
    Route("GET", "/controller", "deployments.has_controller", "reader", has_controller),
)
