"""bundle.json: what the scoring server reads of an image or model (design.md, section 4).

scoring/bundle.py reads it with types of its own; the two packages meet on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from registry.records import Model, Signature

SCHEMA_VERSION = 1


class ModelEntry(msgspec.Struct, frozen=True):
    """One model: ``path`` from the bundle's root, ``entry`` from there."""

    name: str
    version: int
    path: str
    entry: str | None
    digest: str
    signature: Signature | None


class BundleFile(msgspec.Struct, frozen=True):
    """The whole file. ``engine``: "script" or "onnx"; ``entry_script`` is relative to code/."""

    schema_version: int
    name: str
    version: int
    engine: str
    entry_script: str | None
    models: list[ModelEntry]
    max_batch: int | None
    lock_digest: str | None = None


def bundle_json(
    name: str,
    version: int,
    models: Sequence[Model],
    *,
    entry_script: str | None,
    max_batch: int | None = None,
    lock_digest: str | None = None,
) -> bytes:
    """bundle.json of an image; the same inputs give the same bytes."""
    file = BundleFile(
        SCHEMA_VERSION,
        name,
        version,
        "onnx" if entry_script is None else "script",
        entry_script,
        [
            ModelEntry(m.name, m.version, model_path(m), m.entry, m.digest, m.signature)
            for m in models
        ],
        max_batch,
        lock_digest,
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def model_path(model: Model) -> str:
    """Where a bundle has the files of ``model``."""
    return f"models/{model.name}/{model.version}"


def write_model_bundle(folder: Path, model: Model) -> None:
    """The bundle.json of a model that is served without an image."""
    data = bundle_json(model.name, model.version, [model], entry_script=None)
    (folder / "bundle.json").write_bytes(data)
