"""Images: what they are made of, how they were built, and who runs them."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from registry.errors import NotFoundError
from registry.fpga_artifact import TITLE
from registry.records import Image
from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.links import linked
from runtime.portal.paths import url
from runtime.portal.place import Place

PAGE = 100
LOG_CHARS = 200_000


def images(ask: Ask) -> Answer:
    """All versions, the newest of each name first."""
    sought = ask.text("q", limit=200).strip().lower()
    start = ask.number("from", 0, 0, 10**9)
    found = ask.workspace.images.window(part=sought, offset=start, limit=PAGE)
    return Page(
        "images.html",
        "Images",
        {
            "images": found.items,
            "sought": sought,
            "count": found.count,
            "later": start + PAGE if found.count > start + PAGE else None,
            "earlier": max(0, start - PAGE) if start else None,
        },
        section="images",
        commands=Commands("inferry image list", "Workspace.open(folder).images.list()"),
    )


def image(ask: Ask) -> Answer:
    """One version."""
    found = of_path(ask)
    lines, layers = ask.workspace.lineage.of_image(found.reference), layers_of(ask, found)
    return Page(
        "image.html",
        found.reference,
        {
            "image": found,
            "layers": layers,
            "layers_bytes": sum(layer.size_bytes for layer in layers),
            "lock": (found.details.lock or "").splitlines()[:2000],
            "log": found.log[-LOG_CHARS:],
            "came_from": linked(ask, lines.came_from),
            "used_by": linked(ask, lines.used_by),
        },
        section="images",
        trail=(("Images", url("images", workspace=ask.workspace_name)),),
        commands=Commands(
            f"inferry image show {shlex.quote(found.reference)}",
            f"Workspace.open(folder).images.get({found.reference!r})",
        ),
    )


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as the image's manifest has it."""

    kind: str
    title: str
    digest: str
    size_bytes: int
    media_type: str = ""


def layers_of(ask: Ask, image: Image) -> list[Layer]:
    """As they are recorded; of an FPGA image, as its manifest says. Raises DamagedBlobError."""
    if image.details.layers:
        return [
            Layer(each.kind, each.title, each.digest, each.size_bytes)
            for each in image.details.layers
        ]
    if image.digest is None or image.details.kind != "fpga":
        return []
    store = ask.site.distributions[ask.workspace_name].store
    manifest = json.loads(store.read(image.digest))
    return [
        Layer(
            "part",
            str(each.get("annotations", {}).get(TITLE, "")),
            str(each["digest"]),
            int(each["size"]),
            str(each["mediaType"]),
        )
        for each in manifest.get("layers", [])
    ]


def of_path(ask: Ask) -> Image:
    """The image that the path names. Raises NotFoundError."""
    name, version = ask.arguments["name"], ask.arguments["version"]
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise NotFoundError("there is no such version of the image")
    return ask.workspace.images.get(f"{name}:{version}")


PLACES = (Place("GET", "images", "reader", images), Place("GET", "image", "reader", image))
