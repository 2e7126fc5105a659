"""The files of a run: kept by who wants them, and shown where they are text or an image.

Whatever a file is, the browser runs nothing of it: it is sent as an attachment in a sandbox, and an
image is only one whose first bytes are of a format that holds no script."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import chain

from registry.tracking import RunFile
from runtime.portal.answers import Answer, Commands, File, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.workspace_service.faults import Fault

TEXT_BYTES = 64 * 1024
IMAGE_BYTES = 32 * 1024 * 1024
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def image_type(start: bytes) -> str:
    """The media type of an image that begins so; "" for what is none that is shown."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for head, kind in _STARTS if start.startswith(head)), "")


def file(ask: Ask) -> Answer:
    """To be kept."""
    found, chunks = _open(ask)
    return File(found.path.rpartition("/")[2], found.size_bytes, chunks)


def image(ask: Ask) -> Answer:
    """To be shown in a page."""
    found, chunks = _open(ask)
    first = next(chunks, b"")
    kind = image_type(first)
    if not kind or found.size_bytes > IMAGE_BYTES:
        raise Fault(404, "not_found", "this file is no image that can be shown")
    return File(found.path.rpartition("/")[2], found.size_bytes, chain([first], chunks), kind)


def preview(ask: Ask) -> Answer:
    """A page with its beginning as text, or with the image."""
    found, chunks = _open(ask)
    run = ask.workspace.tracking.runs.get(ask.arguments["id"])
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= TEXT_BYTES:
            break
    kind = image_type(start) if found.size_bytes <= IMAGE_BYTES else ""
    text = None if kind else _text(start[:TEXT_BYTES])
    return Page(
        "run_file.html",
        found.path,
        {
            "run": run,
            "file": found,
            "is_image": bool(kind),
            "text": text,
            "is_cut": found.size_bytes > TEXT_BYTES,
        },
        section="experiments",
        trail=(
            ("Experiments", url("experiments", workspace=ask.workspace_name)),
            (run.reference, url("run", workspace=ask.workspace_name, id=run.id)),
        ),
        commands=Commands(
            f"inferry run download {shlex.quote(run.reference)} . --path {shlex.quote(found.path)}",
            f"Run.get({run.reference!r}).download_file({found.path!r}, '.')",
        ),
    )


def _open(ask: Ask) -> tuple[RunFile, Iterator[bytes]]:
    return ask.workspace.tracking.files.chunks(ask.arguments["id"], ask.arguments["path"])


def _text(data: bytes) -> str | None:
    """None for what is no text."""
    if b"\0" in data:
        return None
    text = data.decode("utf-8", "replace").rstrip("\N{REPLACEMENT CHARACTER}")
    strange = text.count("\N{REPLACEMENT CHARACTER}")
    return None if strange > len(text) // 50 else text


PLACES = (
    Place("GET", "run.file", "reader", file),
    Place("GET", "run.image", "reader", image),
    Place("GET", "run.preview", "reader", preview),
)
