"""A picture as bytes: a file, a matplotlib figure or module, a PIL image, or bytes as they are.
None of these libraries is imported: they save themselves."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from registry.errors import InvalidNameError, InvalidSourceError

MAX_BYTES = 64 * 1024 * 1024
_ENDINGS = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"<svg": ".svg",
    b"<?xml": ".svg",
    b"RIFF": ".webp",
}


def picture(name: str, path: str | Path | None, plot: Any) -> tuple[bytes, str]:
    """The bytes, and how the name of their file ends. Raises InvalidNameError where it is not just
    one of ``path`` and ``plot``, or no picture; InvalidSourceError for a file that cannot be
    read."""
    if (path is None) == (plot is None):
        raise InvalidNameError(f"say of the image {name!a} either its path or a plot")
    data = _read(Path(path)) if path is not None else _drawn(name, plot)
    if len(data) > MAX_BYTES:
        raise InvalidNameError(f"the image {name!a} has more than {MAX_BYTES} bytes")
    for start, ending in _ENDINGS.items():
        if data.startswith(start):
            return data, ending
    raise InvalidNameError(f"{name!a} is no PNG, JPEG, GIF, WebP or SVG image")


def file_name(name: str, number: int, ending: str) -> str:
    """Where the picture lies in the run: ``images/loss.png``, ``images/loss-1.png``, ..."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:100] or "image"
    return f"images/{plain}{f'-{number}' if number else ''}{ending}"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidSourceError(f"cannot read the image '{path}': {error.strerror}") from error


def _drawn(name: str, plot: Any) -> bytes:
    if isinstance(plot, bytes | bytearray):
        return bytes(plot)
    buffer = io.BytesIO()
    if callable(getattr(plot, "savefig", None)):  # a figure, or the module pyplot
        plot.savefig(buffer, format="png")
    elif callable(getattr(plot, "save", None)):  # a PIL image
        plot.save(buffer, format="PNG")
    else:
        raise InvalidNameError(
            f"the plot of {name!a} is a {type(plot).__name__}, not a figure, an image or bytes"
        )
    return buffer.getvalue()
