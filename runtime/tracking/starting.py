"""Where a run begins: in a workspace here or behind a URL, as the run that a script was submitted
as, or offline."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.errors import NotFoundError
from registry.tracking import Tracking
from runtime.tracking.clock import RunClock
from runtime.tracking.context import context
from runtime.tracking.journal import open_journal
from runtime.tracking.keeper import AWAY, Keeper
from runtime.tracking.local import attach, begin, open_tracking
from runtime.tracking.offline import OfflineKeeper

_attached: set[str] = set()
"""Runs that this process has taken for its own first one."""


def new_keeper(
    experiment: str, name: str, workspace: Path | str | None, allow_offline: bool
) -> tuple[Keeper, bool]:
    """Who keeps a new run, and whether its end is this process's. In a script that was submitted as
    a run, the first new run is that run, and later ones are its children."""
    given = context()
    try:
        if workspace is None and given.run is not None and given.journal is not None:
            return _of_submitted(open_journal(given.journal, given.run, say), name)
        url = _url(workspace or given.workspace)
        if url is not None:
            return _at_service(
                url, experiment, name, None if workspace else given.run, allow_offline
            )
        tracking = open_tracking(workspace or given.workspace)
        if given.run is None or workspace is not None:
            return begin(tracking, experiment, name), True
        return _of_submitted(attach(tracking, given.run), name)
    except AWAY as error:
        if not allow_offline:
            raise
        return offline(experiment, name, reason(error)), False


def context_keeper(allow_offline: bool) -> Keeper:
    """Of the run that this process was submitted as; one that prints, where it was not. Raises
    NotFoundError for that where it may not, and for a run that is gone."""
    given = context()
    if given.run is None:
        if not allow_offline:
            raise NotFoundError("this process was not submitted as a run; use Run(NAME)")
        return offline("offline")
    try:
        keeper: Keeper
        if given.journal is not None:
            keeper = open_journal(given.journal, given.run, say)
        elif (url := _url(given.workspace)) is not None:
            keeper = _attached_at(url, given.run, may_wait=allow_offline)
        else:
            keeper = attach(open_tracking(given.workspace), given.run)
    except AWAY as error:
        if not allow_offline:
            raise
        return offline("offline", "", reason(error))
    _attached.add(given.run)
    return keeper


def known_keeper(ref: str, workspace: Path | str | None) -> Keeper:
    """Of a run that is there. Raises NotFoundError."""
    if (url := _url(workspace or context().workspace)) is not None:
        return _attached_at(url, ref, may_wait=False)
    return attach(open_tracking(workspace or context().workspace), ref)


@contextmanager
def tracking_at(workspace: Path | str | None) -> Iterator[Tracking]:
    """That of this workspace, else of the one that the environment names, else of the nearest."""
    if (url := _url(workspace or context().workspace)) is not None:
        from runtime.tracking.remote import open_remote

        with open_remote(url) as found:
            yield found.tracking
        return
    yield open_tracking(workspace or context().workspace)


def offline(experiment: str, name: str = "", why: str | None = None) -> OfflineKeeper:
    """One that prints; ``why`` is said on standard error."""
    if why is not None:
        say(f"this run is printed, not kept: {why}")
    return OfflineKeeper(experiment, name, RunClock()(), None)


def say(line: str) -> None:
    """On standard error, where it is not part of what a script prints."""
    with suppress(OSError, ValueError, AttributeError):
        print(f"inferry: {line}", file=sys.stderr, flush=True)


def reason(error: BaseException) -> str:
    """Why, in one line."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


def _of_submitted(keeper: Keeper, name: str) -> tuple[Keeper, bool]:
    if keeper.id not in _attached:
        _attached.add(keeper.id)
        return keeper, False
    return keeper.child(name, RunClock()()), True


def _url(workspace: Path | str | None) -> str | None:
    """Of a service; None for a folder."""
    text = str(workspace)
    return text if text.lower().startswith(("http://", "https://")) else None


def _at_service(
    url: str, experiment: str, name: str, run: str | None, allow_offline: bool
) -> tuple[Keeper, bool]:
    from runtime.tracking import remote  # 50 ms that a workspace on this machine does not pay
    from runtime.tracking.service import Service

    service = Service.of_user(url, os.environ)
    if run is not None:
        return _of_submitted(remote.attach(service, run, say, may_wait=allow_offline), name)
    return remote.begin(service, experiment, name, say, may_wait=allow_offline), True


def _attached_at(url: str, ref: str, *, may_wait: bool) -> Keeper:
    from runtime.tracking import remote
    from runtime.tracking.service import Service

    return remote.attach(Service.of_user(url, os.environ), ref, say, may_wait=may_wait)
