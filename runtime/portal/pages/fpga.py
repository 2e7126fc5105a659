"""FPGA images, and the compiler's report of one: what each layer costs, on which hardware."""

from __future__ import annotations

import shlex

import msgspec

from fpga.report import MOST_BYTES, Report
from registry.errors import DamagedBlobError, NotFoundError
from registry.fpga_artifact import REPORT
from registry.records import Image
from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.pages.images import layers_of, of_path
from runtime.portal.paths import url
from runtime.portal.place import Place


def fpga(ask: Ask) -> Answer:
    """All FPGA images, with their reports' main numbers."""
    found = [i for i in ask.workspace.images.list() if i.details.kind == "fpga"][-200:]
    rows: list[tuple[Image, Report | None]] = []
    for image in reversed(found):
        try:
            rows.append((image, _report(ask, image)))
        except (NotFoundError, DamagedBlobError):
            rows.append((image, None))
    return Page(
        "fpga.html",
        "FPGA reports",
        {"rows": rows},
        section="images",
        trail=(("Images", url("images", workspace=ask.workspace_name)),),
        commands=Commands("inferry image list", "Workspace.open(folder).images.list()"),
    )


def report(ask: Ask) -> Answer:
    """One."""
    image = of_path(ask)
    found = _report(ask, image)
    return Page(
        "fpga_report.html",
        f"FPGA report of {image.reference}",
        {
            "image": image,
            "report": found,
            "cycles": sum(layer.cycles for layer in found.layers) or 1,
        },
        section="images",
        trail=(
            ("Images", url("images", workspace=ask.workspace_name)),
            ("FPGA reports", url("fpga", workspace=ask.workspace_name)),
            (
                image.reference,
                url(
                    "image",
                    workspace=ask.workspace_name,
                    name=image.name,
                    version=image.version,
                ),
            ),
        ),
        commands=Commands(f"inferry fpga report {shlex.quote(image.reference)}"),
    )


def _report(ask: Ask, image: Image) -> Report:
    """Of the layer that holds it (registry/fpga_artifact.py)."""
    store = ask.site.distributions[ask.workspace_name].store
    for layer in layers_of(ask, image):
        if layer.media_type == REPORT.media_type and layer.size_bytes <= MOST_BYTES:
            try:
                return msgspec.json.decode(store.read(layer.digest), type=Report)
            except msgspec.MsgspecError:
                break
    raise NotFoundError(f"the image {image.reference} has no report of an FPGA compiler")


PLACES = (Place("GET", "fpga", "reader", fpga), Place("GET", "fpga.report", "reader", report))
