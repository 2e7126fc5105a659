"""Tells webhooks how activities go: signed, each at least once, later and later where it fails.

    deliver_due(workspace)                                  # once, what is due
    work = deliveries(workspace, closing)                   # for a process that runs anyway

A webhook is one POST as runtime/hooks sends it: no redirect, no proxy, bounded in time and size.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from registry.activities.hooks import ActivityHooks
from registry.clock import utc_now
from registry.database import Database
from registry.paths import WorkspacePaths
from runtime.hooks import webhook
from runtime.hooks.answer import Result
from runtime.hooks.webhook import Message, Post

if TYPE_CHECKING:
    from registry import Workspace

EACH_S = 10.0
LEASE_S = 300.0
"""Longer than all of one ``take`` can last."""
LOOK_EVERY_S = 1.0
SETTLE_EVERY_S = 10.0


def hooks_of(workspace: Workspace) -> ActivityHooks:
    """Of a workspace here."""
    paths = WorkspacePaths(workspace.root)
    return ActivityHooks(paths, Database(paths.database), utc_now)


def deliver_due(
    workspace: Workspace,
    *,
    post: Post | None = None,
    clock: Callable[[], float] = time.time,
    is_ending: Callable[[], bool] = lambda: False,
) -> int:
    """Tell what is due, once each; how many were taken. Blocking, at most EACH_S for each. Raises
    RegistryError."""
    hooks = hooks_of(workspace)
    if not hooks.is_any_due(clock()):
        return 0
    taken = 0
    for due in hooks.take(clock(), lease_s=LEASE_S):
        if is_ending():
            break  # the lease runs out, and another tells it
        answer = webhook.deliver(
            Message(url=due.url, id=f"activity-{due.id}", body=due.body, secret=due.secret),
            each_s=EACH_S,
            total_s=EACH_S,
            sleep=lambda _: False,
            post=post,
        )
        if answer.result is Result.OK:
            hooks.done(due.id)
            taken += 1
        else:
            hooks.failed(due, answer.said, clock())
    return taken


def deliveries(workspace: Workspace, closing: threading.Event) -> Callable[[], float]:
    """Work for a process that runs anyway: each call tells what is due, and says after how many
    seconds it is to be called again. Now and then it settles what died, so that this is told too.
    Raises RegistryError."""
    next_settle_s = 0.0

    def deliver() -> float:
        nonlocal next_settle_s
        if time.monotonic() >= next_settle_s:
            next_settle_s = time.monotonic() + SETTLE_EVERY_S
            if hooks_of(workspace).list():
                workspace.activities.settle()
        deliver_due(workspace, is_ending=closing.is_set)
        return LOOK_EVERY_S

    return deliver


def random_bytes(count: int) -> bytes:
    """For secrets."""
    return os.urandom(count)
