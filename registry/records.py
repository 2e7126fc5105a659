"""What the registry knows of models and images: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Dim = int | str | None


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of an ONNX model. ``dtype``: float32, string, sequence<float32>, ...;
    ``shape`` has sizes, names of variable sizes, or None; it is None itself when unknown."""

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """What an ONNX model takes and gives."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a model: its path in the model, POSIX, and its bytes in the store."""

    path: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model. ``digest`` covers the paths and bytes of all files."""

    name: str
    version: int
    description: str
    created_at: str
    digest: str
    size_bytes: int
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    files: tuple[StoredFile, ...] = ()
    signature: Signature | None = None
    entry: str | None = None
    """The file to load: the model's only .onnx file, if there is just one."""

    @property
    def reference(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """A layer of an image: what it holds (base, dependencies, server, code, model), for people too,
    and its bytes as stored."""

    kind: str
    title: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ImageDetails:
    """How an image was made; all None or empty of one that holds a bundle only.

    ``lock`` has a line ``name==version --hash=...`` for each Python package; ``proof`` says where
    it was seen to score, or why not; ``revision`` is the git commit of its code; ``referrers`` are
    the digests of the manifests of its SBOM and its signature."""

    kind: Literal["docker", "fpga"] = "docker"
    platform: str | None = None
    base: str | None = None
    base_digest: str | None = None
    python: str | None = None
    layers: tuple[LayerRecord, ...] = ()
    lock: str | None = None
    proof: str | None = None
    revision: str | None = None
    referrers: tuple[str, ...] = ()
    activity: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """One version of an image. ``digest`` is its OCI manifest's; None when it failed. ``users`` are
    the deployments that run it."""

    name: str
    version: int
    state: Literal["succeeded", "failed"]
    description: str
    created_at: str
    digest: str | None
    size_bytes: int
    log: str
    cause: str | None
    engine: str
    script: str | None
    requirements: str | None
    models: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    details: ImageDetails = field(default_factory=ImageDetails)
    users: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What purge freed, or would free."""

    blobs: int
    size_bytes: int
