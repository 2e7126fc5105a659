"""Addresses of the things that links of the lineage name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry.errors import NotFoundError
from registry.lineage import Link
from runtime.portal.ask import Ask
from runtime.portal.paths import url

MOST = 200


@dataclass(frozen=True, slots=True)
class Linked:
    """A thing, and where its page is."""

    kind: str
    name: str
    address: str


def linked(ask: Ask, links: Iterable[Link]) -> list[Linked]:
    """Those whose page there is."""
    found = []
    for link in list(links)[:MOST]:
        address = address_of(ask, link)
        if address:
            found.append(Linked(link.kind, link.name, address))
    return found


def address_of(ask: Ask, link: Link) -> str:
    """The page of a thing; "" where it is gone."""
    name, _, version = link.name.rpartition(":")
    workspace = ask.workspace_name
    if link.kind == "model":
        return url("version", workspace=workspace, name=name, version=version)
    if link.kind == "image":
        return url("image", workspace=workspace, name=name, version=version)
    if link.kind == "deployment":
        return url("deployment", workspace=workspace, name=link.name)
    try:
        run = ask.workspace.tracking.runs.get(link.name)
    except NotFoundError:
        return ""
    return url("run", workspace=workspace, id=run.id)
