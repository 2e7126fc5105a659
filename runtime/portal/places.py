"""All places of the portal, and which of them a path means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.portal.pages import PLACES
from runtime.portal.place import Place
from runtime.workspace_service.faults import Fault

BY_NAME: Mapping[str, Place] = {place.name: place for place in PLACES}
assert len(BY_NAME) == len(PLACES), "two places of one name"


@dataclass(frozen=True, slots=True)
class Match:
    """What a path means; ``workspace`` is empty for what is about the service."""

    place: Place
    workspace: str
    arguments: Mapping[str, str]


def match(method: str, path: str) -> Match:
    """``path`` is decoded once. Raises Fault 404 and 405."""
    allowed = []
    for place in PLACES:
        if (found := place.pattern.fullmatch(path)) is not None:
            arguments = found.groupdict()
            if place.method == ("GET" if method == "HEAD" else method):
                return Match(place, arguments.pop("workspace", ""), arguments)
            allowed.append(place.method)
    if allowed:
        known = sorted({*allowed, *(("HEAD",) if "GET" in allowed else ())})
        raise Fault(
            405, "no_such_method", "the method makes no sense here", {"Allow": ", ".join(known)}
        )
    raise Fault(404, "not_found", "there is no such page")
