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
class Image:
    """One version of an image. ``digest`` is its OCI manifest's; None when it failed."""

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

    @property
    def reference(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What purge freed, or would free."""

    blobs: int
    size_bytes: int
