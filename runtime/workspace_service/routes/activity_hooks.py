"""Webhooks that are told how activities go. For owners: whom the service calls is theirs to say,
and a URL may hold a secret."""

from __future__ import annotations

import os
from dataclasses import dataclass

from registry.activities.hooks import ENDED, ActivityHook, ActivityHooks
from registry.clock import utc_now
from registry.database import Database
from registry.paths import WorkspacePaths
from runtime.workspace_service.call import Call
from runtime.workspace_service.route import Route


@dataclass(frozen=True, slots=True)
class NewHook:
    """``secret`` signs what it is sent; it is told this once."""

    hook: ActivityHook
    secret: str


def list_hooks(call: Call) -> list[ActivityHook]:
    """List the webhooks, with how many changes each has not been told yet, and why not."""
    return _hooks(call).list()


def add(
    call: Call,
    *,
    url: str,
    kinds: tuple[str, ...] = (),
    states: tuple[str, ...] = ENDED,
    secret: str | None = None,
) -> NewHook:
    """Tell a URL from now on how activities go, by a signed POST."""
    given = None if secret is None else secret.encode(errors="surrogatepass")
    hook, signs = _hooks(call).add(url, kinds=kinds, states=states, secret=given, random=os.urandom)
    return NewHook(hook, signs.decode(errors="replace"))


def delete(call: Call, *, id: int) -> ActivityHook:
    """Delete a webhook, with what it has not been told yet."""
    return _hooks(call).delete(id)


def _hooks(call: Call) -> ActivityHooks:
    paths = WorkspacePaths(call.workspace.root)
    return ActivityHooks(paths, Database(paths.database), utc_now)


ROUTES = (
    Route("GET", "/activity-hooks", "activity_hooks.list", "owner", list_hooks),
    Route("POST", "/activity-hooks", "activity_hooks.add", "owner", add, status=201),
    Route("DELETE", "/activity-hooks/{id}", "activity_hooks.delete", "owner", delete),
)
