"""The two JSON documents of a container image: its config and its manifest. Pure.

Nothing in them depends on the day or the machine: equal inputs give equal digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry import media_types
from registry.image_tree import BUNDLE_ROOT, PACKAGES_ROOT, PORT, SCRIPTS_ROOT, SERVER_ROOT, USER
from registry.layers import Layer
from registry.platforms import Platform

LAYER_KIND = "dev.inferry.layer"
"""The annotation of a layer that says what it holds: base, dependencies, server, code, model."""
LAYER_TITLE = "dev.inferry.layer.title"
EPOCH = "1970-01-01T00:00:00Z"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer and what it holds. ``kind``: base, dependencies, server, code or model; ``title``
    says it for people."""

    layer: Layer
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class BaseConfig:
    """What a container takes from its base: the settings of the base's config, and the Python."""

    config: Mapping[str, Any]
    python_path: str


def image_annotations(
    name: str,
    version: int,
    models: Sequence[tuple[str, str]],
    revision: str | None,
    extra: Mapping[str, str],
) -> dict[str, str]:
    """Of the manifest, and labels of the container. ``models``: reference and digest of each."""
    known = {
        "dev.inferry.name": name,
        "dev.inferry.version": str(version),
        "dev.inferry.models": ",".join(f"{ref}@{digest}" for ref, digest in models),
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": str(version),
        **extra,
    }
    return known if revision is None else {**known, "org.opencontainers.image.revision": revision}


def bundle_config(layers: Sequence[ImageLayer]) -> dict[str, Any]:
    """The config of an image without a base."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": _rootfs(layers),
    }


def container_config(
    base: BaseConfig,
    platform: Platform,
    layers: Sequence[ImageLayer],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """The config of a container that serves the bundle on port 5001, as a user that is not root,
    and that needs to write nowhere. Arguments after the image's name are the server's."""
    of_base = base.config
    return {
        "architecture": platform.architecture,
        "os": "linux",
        "created": EPOCH,
        "config": {
            "User": USER,
            "ExposedPorts": {f"{PORT}/tcp": {}},
            "Env": _environment(of_base.get("Env") or ()),
            "Entrypoint": [
                base.python_path,
                *("-m", "scoring", f"/{BUNDLE_ROOT}", "--host", "0.0.0.0", "--port", str(PORT)),
            ],
            "WorkingDir": f"/{BUNDLE_ROOT}",
            "Labels": {**(of_base.get("Labels") or {}), **labels},
            "StopSignal": "SIGTERM",
        },
        "rootfs": _rootfs(layers),
        "history": [
            {"created": EPOCH, "created_by": f"inferry: {layer.kind}", "comment": layer.title}
            for layer in layers
        ],
    }


def manifest(
    config_digest: str,
    config_size_bytes: int,
    layers: Sequence[ImageLayer],
    notes: Mapping[str, str],
    *,
    is_container: bool,
) -> dict[str, Any]:
    """The OCI image manifest."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": {
            "mediaType": media_types.CONFIG,
            "digest": config_digest,
            "size": config_size_bytes,
        },
        "layers": [
            {
                "mediaType": layer.layer.media_type,
                "digest": layer.layer.digest,
                "size": layer.layer.size_bytes,
                "annotations": {LAYER_KIND: layer.kind, LAYER_TITLE: layer.title},
            }
            for layer in layers
        ],
        "annotations": dict(notes),
    }
    return document if is_container else {**document, "artifactType": media_types.BUNDLE}


def encoded(document: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def holds_bundle(descriptor: Mapping[str, Any]) -> bool:
    """Whether a manifest's layer is part of the bundle. Images of older versions, which had no
    annotation, had nothing else."""
    kind = (descriptor.get("annotations") or {}).get(LAYER_KIND)
    return kind in (None, "code", "model")


def _environment(of_base: Sequence[str]) -> list[str]:
    """The base's, with what the server needs. Its order is the base's, ours sorted behind it."""
    found = dict(line.partition("=")[::2] for line in of_base)
    path = found.get("PATH") or DEFAULT_PATH
    ours = {
        "ORT_DISABLE_TELEMETRY": "1",
        "PATH": f"{path}:/{SCRIPTS_ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"/{SERVER_ROOT}:/{PACKAGES_ROOT}",
        "PYTHONUNBUFFERED": "1",
    }
    return [f"{key}={value}" for key, value in {**found, **ours}.items()]


def _rootfs(layers: Sequence[ImageLayer]) -> dict[str, Any]:
    return {"type": "layers", "diff_ids": [layer.layer.diff_id for layer in layers]}
