"""The Swagger documents of a script: its own files, or generated from its inference-schema.

As azureml-inference-server-http 1.5.1 (server/swagger.py): ``swagger.json`` or ``swagger2.json`` in
the app root for version 2, ``swagger3.json`` for 3, ``swagger3.1.json`` for 3.1.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoring.azure.config import AzureConfig

logger = logging.getLogger("azmlinfsrv.swagger")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Version:
    name: str
    aliases: tuple[str, ...]
    user_files: tuple[str, ...]
    template: str


_VERSIONS = (
    _Version("2", ("2", "2.0"), ("swagger.json", "swagger2.json"), "swagger2.json"),
    _Version("3", ("3", "3.0"), ("swagger3.json",), "swagger3.json"),
    _Version("3.1", ("3.1",), ("swagger3.1.json",), "swagger3.json"),
)


def documents(
    config: AzureConfig, run: Callable[..., Any]
) -> tuple[dict[str, Document], list[str]]:
    """Documents by version alias, and the versions that this script has.

    Raises ValueError for a user's file that is not JSON."""
    found: dict[str, Document] = {}
    versions: list[str] = []
    for version in _VERSIONS:
        document = _from_user(version, config.app_root) or _generate(version, config, run)
        if document is None:
            continue
        versions.append(version.name)
        found.update(dict.fromkeys(version.aliases, document))
    return found, versions


def _from_user(version: _Version, app_root: str) -> Document | None:
    for name in version.user_files:
        path = os.path.join(app_root, name)
        try:
            with open(path, encoding="utf-8") as file:
                document: Document = json.load(file)
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        logger.info("Loaded user's swagger file for version [%s] from %s", version.name, path)
        if document:
            return document
    return None


def _generate(version: _Version, config: AzureConfig, run: Callable[..., Any]) -> Document | None:
    schemas = _schemas(version, run)
    if schemas is None:
        return None
    prefix = config.service_path_prefix
    text = Path(__file__).with_name(version.template).read_text(encoding="utf-8")
    document: Document = json.loads(
        text.replace("$SERVICE_NAME$", config.service_name)
        .replace("$SERVICE_VERSION$", config.service_version)
        .replace("$PATH_PREFIX$", f"/{prefix.strip('/')}" if prefix else "")
    )
    place = document["definitions"] if version.name == "2" else document["components"]["schemas"]
    place["ServiceInput"], place["ServiceOutput"] = schemas
    if version.name == "3.1":
        document["openapi"] = "3.1.0"
    try:
        return json.loads(json.dumps(document))  # type: ignore[no-any-return]
    except (TypeError, ValueError):
        logger.exception("the schema of run() cannot be written as JSON")
        return None


def _schemas(version: _Version, run: Callable[..., Any]) -> tuple[Any, Any] | None:
    """Input and output schema; None when run() cannot be described in this version."""
    library = sys.modules.get("inference_schema.schema_util")  # there if the script uses it
    if library is not None:
        if not set(version.aliases) & set(library.get_supported_versions(run)):
            return None
        if library.is_schema_decorated(run):
            return library.get_input_schema(run), library.get_output_schema(run)
    anything = {"type": "object", "example": {}}
    return anything, anything
