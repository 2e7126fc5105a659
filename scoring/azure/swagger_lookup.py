"""GET /swagger.json: which document, or the 404 message. Light: the HTTP process imports it.

Messages as in azureml-inference-server-http 1.5.1, ``Swagger.get_swagger``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_VERSION = "2"
VALID_VERSIONS = frozenset({"2", "2.0", "3", "3.0", "3.1"})


def lookup(
    swagger: Mapping[str, Any], versions: Sequence[str], requested: str | None
) -> dict[str, Any] | str:
    """The document of the ``requested`` version (None: no version in the query), or the message of
    a 404. ``swagger`` and ``versions`` come from the worker's Ready."""
    version = DEFAULT_VERSION if requested is None else requested
    supported = ", ".join(sorted(versions))
    if version not in VALID_VERSIONS:
        return f"Swagger version [{version}] is not valid. Supported versions: [{supported}]."
    document: dict[str, Any] | None = swagger.get(version)
    if not document:
        return (
            f"Swagger version [{version}] is not supported for the scoring script. "
            f"Supported swagger versions: [{supported}]."
        )
    return document
