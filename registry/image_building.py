"""Makes a container image, phase by phase: base, dependencies, server, code, models, documents,
proof. What can be reused of earlier images is: a change of the script or of a model writes one
layer and the documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from registry import assembly, container_config
from registry.attestation import Attached, Facts, attest
from registry.base import BaseImage, PullRegistry, cache_key, load_base
from registry.base.reference import EngineImage, RegistryImage, parse_base
from registry.base_cache import BaseCache
from registry.blobs import BlobStore
from registry.build_log import BuildLog, CompilerLog
from registry.clock import Clock
from registry.container_config import BaseConfig, ImageLayer
from registry.database import Database
from registry.dependency_layer import PackageLayers, Packages
from registry.docker_engine import DockerEngine
from registry.dockerfile_base import REFERENCE, dockerfile_base
from registry.engines import Engines
from registry.errors import InvalidNameError
from registry.folders import write_file
from registry.fpga_artifact import FpgaContents, write_artifact
from registry.git_revision import git_revision
from registry.image_request import ImageRequest
from registry.layer_cache import DatabaseLayerCache
from registry.paths import WorkspacePaths
from registry.platforms import Platform
from registry.proof import ProofPlan, UnpackedLayers, prove
from registry.records import ImageDetails, LayerRecord, Model
from registry.settings import NO_BASE

MakeFpga = Callable[[Path, CompilerLog], FpgaContents]
"""Compiles: takes the folder of the model's files, there only during the call, and what says a line
of the log (it raises CancelledError when someone has cancelled)."""
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How an image is made. ``base``: see registry.base; ``wheelhouse``: a folder that all wheels
    come from; ``dockerfile``: a text that makes the base; ``sample``: a request body that the proof
    scores; ``only_public``: whether the base's registry must be at a public address;
    ``base_said``: what records call a base whose file is only there for a moment."""

    base: str
    platform: Platform = field(default_factory=Platform)
    pull: bool = False
    relock: bool = False
    wheelhouse: Path | None = None
    dockerfile: str | None = None
    sample: bytes | None = None
    proof: bool = True
    only_public: bool = False
    base_said: str | None = None

    @property
    def has_base(self) -> bool:
        """Whether the image is a container, not just a bundle."""
        return self.base != NO_BASE or self.dockerfile is not None


@dataclass(frozen=True, slots=True)
class Built:
    """What was made: the manifest's digest, the size of each blob of the image by digest, and what
    refers to the manifest."""

    digest: str
    blobs: Mapping[str, int]
    details: ImageDetails
    attached: tuple[Attached, ...]


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
    engines: Engines

    @property
    def model_bytes(self) -> int:
        return sum(model.size_bytes for model in self.request.models)

    def said(self, base: BaseImage) -> str:
        return self.options.base_said or base.reference


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
        with Engines() as engines:
            work = _Work(name, version, request, options, store, log, engines)
            return self._container(work) if options.has_base else self._bundle(work)

    def build_fpga(
        self,
        name: str,
        version: int,
        model: Model,
        make: MakeFpga,
        store: BlobStore,
        log: BuildLog,
    ) -> Built:
        """An FPGA artifact of what ``make`` gives. Raises InvalidSourceError, and what ``make``
        raises."""
        log.log(f"models: {model.reference}")
        log.phase("Compiling")
        with UnpackedLayers(self._paths.unpacked).room() as room:
            for file in model.files:
                write_file(room / file.path, store.chunks(file.digest))
            contents = make(room, CompilerLog(log))

        def begin(total: int) -> None:
            log.phase("Packing", total)

        artifact = write_artifact(
            store, name, version, contents, [model], log.advance, on_total=begin
        )
        bits = artifact.bitstream
        boards = f" ({', '.join(bits.boards)})" if bits.boards else ""
        log.log(f"bitstream: {bits.provenance}, for {bits.part}{boards}")
        log.log(f"image {name}:{version} {artifact.manifest}")
        log.phase("Signing")
        details = ImageDetails(kind="fpga", proof=contents.proof)
        facts = Facts(name, version, artifact.manifest, artifact.size_bytes, [model], details)
        attached = attest(store, self._paths.keys, facts)
        details = replace(details, referrers=tuple(each.digest for each in attached))
        return Built(artifact.manifest, artifact.blobs, details, attached)

    def _bundle(self, work: _Work) -> Built:
        """An image without base: what inferry serve runs."""
        work.log.phase("Packing", work.model_bytes)
        layers = [_code_layer(work, None), *self._model_layers(work)]
        config = container_config.bundle_config(layers)
        documents = _documents(work, layers, config, _annotations(work, None, {}), False)
        return self._attested(work, documents, ImageDetails(layers=_records(layers)))

    def _container(self, work: _Work) -> Built:
        base = self._base(work)
        work.log.log(f"base {work.said(base)} {base.digest}: {base.target}")
        packages = self._locked(work, base)
        lock = packages.lock
        base_name = _base_name(base.reference)
        work.log.phase("Packing", work.model_bytes)
        layers = [
            *(ImageLayer(layer, "base", base_name or "base") for layer in base.layers),
            packages.layer,
            assembly.server_layer(work.store, base.python.version, self._layers),
            _code_layer(work, (lock.text(), lock.digest)),
        ]
        plan = _plan(work, base, packages, layers)
        engine = work.engines.at_hand(base.platform) if work.options.proof else None
        proof = "none: left out on request"
        if work.options.proof and engine is None:
            # A process takes the models' own files: their layers are written meanwhile.
            with ThreadPoolExecutor(1, thread_name_prefix="models") as pool:
                writing = pool.submit(self._model_layers, work)
                proof = self._proven(work, plan, None)
                layers += writing.result()
        else:
            layers += self._model_layers(work)
        revision = _revision(work.request)
        of_base = _base_annotations(base, base_name)
        labels = _annotations(work, revision, {"dev.inferry.lock": lock.digest, **of_base})
        config = container_config.container_config(
            BaseConfig(base.config, base.python.path), base.platform, layers, labels
        )
        documents = _documents(work, layers, config, labels, True)
        if engine is not None:
            plan = replace(plan, layers=tuple(layers), config=documents.config)
            proof = self._proven(work, plan, engine)
        details = ImageDetails(
            platform=str(base.platform),
            base=work.said(base),
            base_digest=base.digest,
            python=".".join(map(str, base.python.version)),
            layers=_records(layers),
            lock=lock.text(),
            revision=revision,
            proof=proof,
        )
        return self._attested(work, documents, details, base_name, packages)

    def _locked(self, work: _Work, base: BaseImage) -> Packages:
        wanted, options = work.request.wanted, work.options
        if wanted is not None:
            wanted.check_python(base.python.version)
            for note in wanted.notes:
                work.log.log(note)
        lock = self._packages.lock(
            wanted,
            base.target,
            has_script=work.request.code is not None,
            wheelhouse=options.wheelhouse,
            relock=options.relock,
            progress=work.log,
        )
        return self._packages.layer(lock, wanted, base.python.path, work.store, work.log)

    def _proven(self, work: _Work, plan: ProofPlan, engine: DockerEngine | None) -> str:
        """How it was seen to score. Raises ProofError when it does not."""
        work.log.phase("Proving", 0 if engine is not None else work.model_bytes)
        proof = prove(
            plan,
            store=work.store,
            unpacked=UnpackedLayers(self._paths.unpacked),
            engine=engine,
            on_line=work.log.log,
            cancelled=work.log.is_cancelled,
        )
        said = f"{proof.how}: {proof.detail}"
        work.log.log(f"proof: {said}")
        return said

    def _attested(
        self,
        work: _Work,
        documents: _Documents,
        details: ImageDetails,
        base_name: str | None = None,
        packages: Packages | None = None,
    ) -> Built:
        work.log.phase("Signing")
        facts = Facts(
            work.name,
            work.version,
            documents.digest,
            documents.size_bytes,
            work.request.models,
            details,
            base_name,
            None if packages is None else packages.lock,
            () if packages is None else packages.wheels,
        )
        attached = attest(work.store, self._paths.keys, facts)
        referrers = tuple(each.digest for each in attached)
        details = replace(details, referrers=referrers)
        return Built(documents.digest, documents.blobs, details, attached)

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
                work.engines.get(),
                log,
            )
        key = _base_key(options.base, work.engines)
        if not options.pull:
            known = self._bases.find(key, options.platform, store)
            if known is not None:
                return replace(known, reference=options.base)  # that may have been another path
        log.phase("Reading the base")
        base = load_base(
            options.base,
            options.platform,
            store,
            said=options.base_said,
            on_bytes=log.advance,
            pull=_pull(log, only_public=work.options.only_public),
            engine=work.engines.get,
            on_line=log.log,
        )
        if work.engines.was_asked and isinstance(parse_base(options.base), RegistryImage):
            # The engine stood in for a registry: what it has is not what the name means.
            return replace(base, reference=f"docker:{options.base}")
        self._bases.add(key, options.platform, base)
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


@dataclass(frozen=True, slots=True)
class _Documents:
    """The manifest's digest and size, the config, and the sizes of all blobs of the image."""

    digest: str
    size_bytes: int
    config: bytes
    blobs: Mapping[str, int]


def _documents(
    work: _Work,
    layers: Sequence[ImageLayer],
    config: Mapping[str, Any],
    notes: Mapping[str, str],
    is_container: bool,
) -> _Documents:
    """Stores config and manifest."""
    data = container_config.encoded(config)
    stored = work.store.put([data])
    manifest = container_config.manifest(*stored, layers, notes, is_container=is_container)
    digest, size = work.store.put([container_config.encoded(manifest)])
    work.log.log(f"image {work.name}:{work.version} {digest}")
    blobs = {layer.layer.digest: layer.layer.size_bytes for layer in layers}
    return _Documents(digest, size, data, {**blobs, stored[0]: stored[1], digest: size})


def _plan(
    work: _Work, base: BaseImage, packages: Packages, layers: Sequence[ImageLayer]
) -> ProofPlan:
    return ProofPlan(
        f"{work.name}:{work.version}",
        tuple(layers),
        work.request.models,
        base.target,
        base.python.path,
        imports=packages.modules,
        sample=work.options.sample,
    )


def _pull(log: BuildLog, *, only_public: bool) -> PullRegistry:
    def pull(
        reference: str, platform: Platform, store: BlobStore, on_bytes: Callable[[int], None]
    ) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
        from registry.remote.options import RemoteOptions
        from registry.remote.pulling import pull_image  # httpx: 0.2 s that only a pull pays

        found = pull_image(
            reference,
            platform,
            store,
            on_bytes,
            cancelled=log.is_cancelled,
            on_total=lambda total: log.phase("Pulling the base", total),
            options=RemoteOptions(only_public=only_public),
        )
        return found.digest, found.manifest, found.config

    return pull


def _base_annotations(base: BaseImage, base_name: str | None) -> dict[str, str]:
    found = {"org.opencontainers.image.base.digest": base.digest}
    return (
        found if base_name is None else {**found, "org.opencontainers.image.base.name": base_name}
    )


def _base_key(reference: str, engines: Engines) -> str:
    """By which a base is remembered. The name of an image of the engine soon means another one, so
    its id is part of it."""
    parsed = parse_base(reference)
    if isinstance(parsed, EngineImage):
        return f"{cache_key(reference)} {engines.get().image_id(parsed.name)}"
    return cache_key(reference)


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
    if request.revision is not None or request.code is None:
        return request.revision
    return git_revision(request.code.files[0].root)


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
