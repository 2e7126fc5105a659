"""What no client is told, such as the workspace's folder, out of what activities say. Pure.

``hidden``: texts, and what stands in their places (Site.hidden)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from registry.activities import Activity


def without_hidden(activity: Activity, hidden: Mapping[str, str]) -> Activity:
    """With a cause that names no folder of this machine."""
    cause = activity.cause
    if cause is not None:
        for text, instead in hidden.items():
            cause = cause.replace(text, instead)
    return replace(activity, cause=cause)


def log_without_hidden(log: bytes, hidden: Mapping[str, str]) -> bytes:
    """As long as ``log``: a client asks on from the number of bytes that it has."""
    for text, instead in hidden.items():
        found = text.encode(errors="surrogateescape")
        log = log.replace(found, instead.encode().ljust(len(found), b"/")[: len(found)])
    return log
