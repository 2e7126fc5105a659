"""What the scoring server in an image needs, as the installed distribution declares it, and the
versions that it was tested with.
"""

from __future__ import annotations

import json
import re
from importlib import metadata, resources

from registry.dependencies.standards import parse_requirement
from registry.errors import ImageFailedError

DISTRIBUTION = "inferry"
BASE = frozenset(["msgspec"])
"""Of what all roles need, the server's; the others are the command line's."""
PINS_FILE = "server_pins.json"
_EXTRA = re.compile(r"""^(?P<rest>.*?)(?:\s+and\s+)?\bextra\s*==\s*['"](?P<extra>[\w-]+)['"]\s*$""")


def server_requirements(has_script: bool, has_onnx: bool) -> list[str]:
    """The third-party requirements of the server; with a script also what Azure's scripts import,
    with ``has_onnx`` the engine. Raises ImageFailedError."""
    extras = {"scoring"} | ({"azure"} if has_script else set()) | ({"onnx"} if has_onnx else set())
    try:
        declared = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise ImageFailedError(
            "what the server needs is unknown, as inferry is not installed; install it with pip"
        ) from error
    found = (_of_extra(text, extras) for text in declared)
    return sorted({parse_requirement(text).text for text in found if text})


def server_pins() -> dict[str, str]:
    """Versions by name that are tried first."""
    text = (resources.files("registry.dependencies") / PINS_FILE).read_text()
    return {str(name): str(version) for name, version in json.loads(text).items()}


def _of_extra(text: str, extras: set[str]) -> str | None:
    """The requirement without its extra, or None when it belongs to another."""
    requirement, _, marker = text.partition(";")
    match = _EXTRA.match(marker.strip())
    if match is None:
        return text if parse_requirement(text).name in BASE else None
    name = parse_requirement(requirement).name
    if match["extra"] not in extras or name == DISTRIBUTION:
        return None
    return f"{requirement.strip()}; {match['rest']}" if match["rest"] else requirement
