"""Makes a container image, phase by phase: base, dependencies, server, code, models, documents,
proof. What can be reused of earlier images is: a change of the script or of a model writes one
layer and the documents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry import assembly, container_config
from registry.base import BaseImage, load_base
from registry.base.reference import EngineImage, RegistryImage, parse_base
from registry.base_cache import BaseCache
from registry.blobs import BlobStore
from registry.build_log import BuildLog
from registry.clock import Clock
from registry.container_config import BaseConfig, ImageLayer
from registry.database import Database
from registry.dependency_layer import PackageLayers
from registry.docker_engine import connect
from registry.dockerfile_base import REFERENCE, dockerfile_base
from registry.errors import InvalidNameError
from registry.git_revision import git_revision
from registry.image_request import ImageRequest
from registry.layer_cache import DatabaseLayerCache
from registry.paths import WorkspacePaths
from registry.platforms import Platform
from registry.records import ImageDetails, LayerRecord
from registry.settings import NO_BASE

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an image is made. ``base``: see registry.base; ``wheelhouse``: a folder that all wheels
    come from; ``dockerfile``: a text that makes the base; ``sample``: a request body that the proof
    scores."""

    base: str
    platform: Platform = field(default_factory=Platform)
    pull: bool = False
    relock: bool = False
    wheelhouse: Path | None = None
    dockerfile: str | None = None
    sample: bytes | None = None
    proof: bool = True

    @property
    def has_base(self) -> bool:
        """Whether the image is a container, not just a bundle."""
        return self.base != NO_BASE or self.dockerfile is not None


@dataclass(frozen=True, slots=True)
class Built:
    """What was made: the manifest's digest, and the size of each blob of the image by digest."""

    digest: str
    blobs: Mapping[str, int]
    details: ImageDetails


def check_container_name(name: str) -> None:
    """Raises InvalidNameError for a name that Docker would refuse."""
    if not _REPOSITORY.fullmatch(name):
        raise InvalidNameError(
            f"a container cannot be called '{name}': its name is lower-case letters and digits,"
            " with single '.', '_' or '-' between them (--base none takes any name)"
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """One build."""

    name: str
    version: int
    request: ImageRequest
    options: BuildOptions
    store: BlobStore
    log: BuildLog

    @property
    def model_bytes(self) -> int:
        return sum(model.size_bytes for model in self.request.models)


class ImageBuilder:
    """Builds images of one workspace."""

    def __init__(self, paths: WorkspacePaths, database: Database, clock: Clock) -> None:
        self._paths = paths
        self._bases = BaseCache(database)
        self._packages = PackageLayers(paths, database, clock)
        self._layers = DatabaseLayerCache(database)

    def build(
        self,
        name: str,
        version: int,
        request: ImageRequest,
        options: BuildOptions,
        store: BlobStore,
        log: BuildLog,
    ) -> Built:
        """Everything up to the record, which the caller writes. Raises RegistryErrors."""
        log.log(f"models: {', '.join(model.reference for model in request.models)}")
        for note in request.notes:
            log.log(note)
        work = _Work(name, version, request, options, store, log)
        return self._container(work) if options.has_base else self._bundle(work)

    def _bundle(self, work: _Work) -> Built:
        """An image without base: what inferry serve runs."""
        work.log.phase("Packing", work.model_bytes)
        layers = [_code_layer(work, None), *self._model_layers(work)]
        config = container_config.bundle_config(layers)
        notes = _annotations(work, None, {})
        digest, blobs = _documents(work, layers, config, notes, is_container=False)
        return Built(digest, blobs, ImageDetails(layers=_records(layers)))

    def _container(self, work: _Work) -> Built:
        options, request, store, log = work.options, work.request, work.store, work.log
        base = self._base(work)
        target = base.target
        log.log(f"base {base.reference} {base.digest}: {target}")
        if request.wanted is not None:
            request.wanted.check_python(base.python.version)
        lock = self._packages.lock(
            request.wanted,
            target,
            has_script=request.code is not None,
            wheelhouse=options.wheelhouse,
            relock=options.relock,
            progress=log,
        )
        packages = self._packages.layer(lock, request.wanted, base.python.path, store, log)
        base_name = _base_name(base.reference)
        log.phase("Packing", work.model_bytes)
        layers = [
            *(ImageLayer(layer, "base", base_name or "base") for layer in base.layers),
            packages.layer,
            assembly.server_layer(store, target.python, self._layers),
            _code_layer(work, (lock.text(), lock.digest)),
        ]
        layers += self._model_layers(work)
        revision = _revision(request)
        extra = {
            "dev.inferry.lock": lock.digest,
            "org.opencontainers.image.base.digest": base.digest,
        }
        if base_name is not None:
            extra["org.opencontainers.image.base.name"] = base_name
        labels = _annotations(work, revision, extra)
        config = container_config.container_config(
            BaseConfig(base.config, base.python.path), options.platform, layers, labels
        )
        digest, blobs = _documents(work, layers, config, labels, is_container=True)
        details = ImageDetails(
            platform=str(options.platform),
            base=base.reference,
            base_digest=base.digest,
            python=".".join(map(str, base.python.version)),
            layers=_records(layers),
            lock=lock.text(),
            revision=revision,
        )
        return Built(digest, blobs, details)

    def _base(self, work: _Work) -> BaseImage:
        options, store, log = work.options, work.store, work.log
        if options.dockerfile is not None:
            return dockerfile_base(
                options.dockerfile,
                work.name,
                work.version,
                work.request,
                options.platform,
                store,
                connect(),
                log,
            )
        if not options.pull:
            known = self._bases.find(options.base, options.platform, store)
            if known is not None:
                return known
        log.phase("Reading the base")
        base = load_base(
            options.base,
            options.platform,
            store,
            on_bytes=log.advance,
            engine=connect,
            on_line=log.log,
        )
        self._bases.add(options.base, options.platform, base)
        return base

    def _model_layers(self, work: _Work) -> list[ImageLayer]:
        made = []
        for model in work.request.models:
            layer, was_there = assembly.model_layer(
                work.store, model, self._layers, work.log.advance
            )
            work.log.log(_line(layer, "was there" if was_there else "written"))
            made.append(layer)
        return made


def _code_layer(work: _Work, lock: tuple[str, str] | None) -> ImageLayer:
    layer = assembly.code_layer(work.store, work.name, work.version, work.request, lock)
    work.log.log(_line(layer, "written"))
    return layer


def _documents(
    work: _Work,
    layers: Sequence[ImageLayer],
    config: Mapping[str, Any],
    notes: Mapping[str, str],
    *,
    is_container: bool,
) -> tuple[str, dict[str, int]]:
    """Config and manifest: the manifest's digest, and all blobs of the image."""
    stored = work.store.put([container_config.encoded(config)])
    manifest = container_config.manifest(*stored, layers, notes, is_container=is_container)
    digest, size = work.store.put([container_config.encoded(manifest)])
    work.log.log(f"image {work.name}:{work.version} {digest}")
    blobs = {layer.layer.digest: layer.layer.size_bytes for layer in layers}
    return digest, {**blobs, stored[0]: stored[1], digest: size}


def _base_name(reference: str) -> str | None:
    """What the image says of its base: nothing of a file, whose name is this machine's own."""
    if reference == REFERENCE:
        return None
    parsed = parse_base(reference)
    if isinstance(parsed, RegistryImage):
        return str(parsed)
    return parsed.name if isinstance(parsed, EngineImage) else None


def _annotations(work: _Work, revision: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    models = [(model.reference, model.digest) for model in work.request.models]
    return container_config.image_annotations(work.name, work.version, models, revision, extra)


def _revision(request: ImageRequest) -> str | None:
    return None if request.code is None else git_revision(request.code.files[0].root)


def _records(layers: Sequence[ImageLayer]) -> tuple[LayerRecord, ...]:
    return tuple(
        LayerRecord(layer.kind, layer.title, layer.layer.digest, layer.layer.size_bytes)
        for layer in layers
    )


def _line(layer: ImageLayer, what: str) -> str:
    return (
        f"{layer.kind} layer {layer.layer.digest} ({layer.layer.size_bytes} bytes)"
        f" {layer.title}: {what}"
    )
