"""The escape hatch: a base that the Docker Engine makes from a Dockerfile, with the bundle and its
requirements as the context. What is put on top of it, and the record, are those of any image.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from registry import assembly
from registry.base import BaseImage, load_base
from registry.blobs import BlobStore, file_chunks
from registry.build_log import BuildLog
from registry.bundle_file import model_path
from registry.docker_engine import ContainerEngine
from registry.folders import write_file
from registry.image_request import ImageRequest
from registry.image_tree import ROOT
from registry.platforms import Platform

REFERENCE = "Dockerfile"
"""What a record names as the base."""


def dockerfile_base(
    dockerfile: str,
    name: str,
    version: int,
    request: ImageRequest,
    platform: Platform,
    store: BlobStore,
    engine: ContainerEngine,
    log: BuildLog,
) -> BaseImage:
    """Build it, take it over into the store, and remove it from the engine. Raises EngineError with
    the step that failed, BaseImageError for what has no Python, CancelledError."""
    tag = f"inferry-base-{uuid.uuid4().hex}"

    log.phase("Building the base")
    with TemporaryDirectory(prefix="inferry-context-") as folder:
        _write_context(Path(folder), name, version, request, store)
        engine.build(
            Path(folder),
            dockerfile,
            platform,
            tag=tag,
            on_line=log.log,
            is_cancelled=log.is_cancelled,
        )
    try:
        log.phase("Reading the base")
        base = load_base(
            f"docker:{tag}", platform, store, on_bytes=log.advance, engine=lambda: engine
        )
    finally:
        engine.remove(tag)
    return replace(base, reference=REFERENCE)


def _write_context(
    folder: Path, name: str, version: int, request: ImageRequest, store: BlobStore
) -> None:
    """``bundle/``, as an image has it."""
    for entry in assembly.code_entries(name, version, request, None):
        with entry.open() as content:
            target = folder / entry.path.removeprefix(f"{ROOT}/")
            write_file(target, file_chunks(content), is_executable=entry.is_executable)
    for model in request.models:
        for file in model.files:
            target = folder / "bundle" / model_path(model) / file.path
            write_file(target, store.chunks(file.digest))
