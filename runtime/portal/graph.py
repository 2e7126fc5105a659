"""Things in columns, with arrows between them, as SVG. Pure.

    drawn([Node("model digits:1", "digits:1", 1, "/ui/...")], [("run a:1", "model digits:1")])

A node's column says how far along it is; each one is a link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from runtime.portal.words import shown

BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, EDGE = 150, 44, 56, 16, 4
MOST_CHARS = 20


@dataclass(frozen=True, slots=True)
class Node:
    """``kind`` is said above its name, and is its class; ``is_here``: the page is about it."""

    id: str
    name: str
    kind: str
    column: int
    address: str
    is_here: bool = False
    state: str = ""


def drawn(nodes: Sequence[Node], edges: Sequence[tuple[str, str]], *, label: str) -> Markup:
    """The drawing. Edges whose ends are not both there are left out."""
    columns = {column: number for number, column in enumerate(sorted({n.column for n in nodes}))}
    places: dict[str, tuple[int, int]] = {}
    counts: dict[int, int] = {}
    for node in nodes:
        row = counts.get(node.column, 0)
        counts[node.column] = row + 1
        places[node.id] = (
            EDGE + columns[node.column] * (BOX_WIDTH + GAP_X),
            EDGE + row * (BOX_HEIGHT + GAP_Y),
        )
    width = 2 * EDGE + len(columns) * (BOX_WIDTH + GAP_X) - GAP_X
    height = 2 * EDGE + max(counts.values(), default=1) * (BOX_HEIGHT + GAP_Y) - GAP_Y
    lines = "".join(_edge(places[a], places[b]) for a, b in edges if a in places and b in places)
    boxes = "".join(_box(node, *places[node.id]) for node in nodes)
    return Markup(
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="group" aria-label="{escape(label)}">{lines}{boxes}</svg>'
    )


def _edge(a: tuple[int, int], b: tuple[int, int]) -> str:
    x1, y1 = a[0] + BOX_WIDTH, a[1] + BOX_HEIGHT // 2
    x2, y2 = b[0], b[1] + BOX_HEIGHT // 2
    if x2 <= a[0]:  # back, or within a column
        x1, x2 = a[0] + BOX_WIDTH // 2, b[0] + BOX_WIDTH // 2
        y1, y2 = a[1] + BOX_HEIGHT, b[1]
        return f'<path class="edge" d="M{x1} {y1}L{x2} {y2}"/>'
    bend = GAP_X // 2
    return (
        f'<path class="edge" d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 6} {y2}"/>'
        f'<path class="tip" d="M{x2} {y2}l-7 -4v8Z"/>'
    )


def _box(node: Node, x: int, y: int) -> str:
    name = shown(node.name)
    cut = name if len(name) <= MOST_CHARS else f"{name[: MOST_CHARS - 1]}…"
    here = " here" if node.is_here else ""
    said = node.kind if not node.state else f"{node.kind} · {node.state}"
    return (
        f'<a href="{escape(node.address)}" class="node k-{escape(node.kind)}{here}"'
        f' aria-label="{escape(said)} {escape(name)}">'
        f"<title>{escape(name)}</title>"
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 17}" class="kind">{escape(said)}</text>'
        f'<text x="{x + 10}" y="{y + 34}">{escape(cut)}</text></a>'
    )
