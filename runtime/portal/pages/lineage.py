"""What came from what, drawn: runs, models, images and deployments around one thing."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.errors import NotFoundError
from registry.lineage import Kind, Lines, Link
from runtime.portal.answers import Answer, Page
from runtime.portal.ask import Ask
from runtime.portal.graph import Node, drawn
from runtime.portal.links import address_of
from runtime.portal.place import Place

COLUMNS: dict[Kind, int] = {"run": 0, "model": 1, "image": 2, "deployment": 3}
SECTIONS: dict[Kind, str] = {
    "run": "experiments",
    "model": "models",
    "image": "images",
    "deployment": "deployments",
}
MOST = 60


@dataclass(slots=True)
class _Found:
    nodes: dict[Link, str] = field(default_factory=dict)
    edges: list[tuple[Link, Link]] = field(default_factory=list)
    left: int = 0


def lineage(ask: Ask) -> Answer:
    """Around the thing that the path names."""
    kind = next((each for each in COLUMNS if each == ask.arguments["kind"]), None)
    if kind is None:
        raise NotFoundError("there is no such kind of thing")
    here = Link(kind, _name(ask, kind, ask.arguments["ref"]))
    lines = _lines(ask, here)
    found = _Found()
    around = (*lines.came_from, *lines.used_by)
    for link in (here, *around[:MOST]):
        address = address_of(ask, link)
        if address:
            found.nodes[link] = address
    found.left = max(0, len(around) - MOST)
    for link in found.nodes:
        found.edges += [(above, link) for above in _above(ask, link) if above in found.nodes]
    nodes = [
        Node(str(link), link.name, link.kind, COLUMNS[link.kind], address, link == here)
        for link, address in found.nodes.items()
    ]
    edges = [(str(a), str(b)) for a, b in found.edges]
    return Page(
        "lineage.html",
        f"What belongs to {here}",
        {
            "here": here,
            "drawing": drawn(nodes, edges, label=f"What belongs to {here}"),
            "nodes": nodes,
            "edges": found.edges,
            "addresses": found.nodes,
            "left": found.left,
        },
        section=SECTIONS[kind],
        trail=((str(here), address_of(ask, here)),),
    )


def _name(ask: Ask, kind: Kind, ref: str) -> str:
    """As links name it."""
    if kind == "run":
        return ask.workspace.tracking.runs.get(ref).reference
    if kind == "model":
        return ask.workspace.models.get(ref).reference
    if kind == "image":
        return ask.workspace.images.get(ref).reference
    return ask.workspace.deployments.get(ref).name


def _lines(ask: Ask, link: Link) -> Lines:
    lineage = ask.workspace.lineage
    ways = {
        "run": lineage.of_run,
        "model": lineage.of_model,
        "image": lineage.of_image,
        "deployment": lineage.of_deployment,
    }
    return ways[link.kind](link.name)


def _above(ask: Ask, link: Link) -> list[Link]:
    """What a thing comes from directly."""
    if link.kind == "run":
        return []
    if link.kind == "image":
        return [Link("model", ref) for ref in ask.workspace.images.get(link.name).models]
    wanted = "run" if link.kind == "model" else "image"
    return [each for each in _lines(ask, link).came_from if each.kind == wanted]


PLACES = (Place("GET", "lineage", "reader", lineage),)
