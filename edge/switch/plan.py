"""What kind of change it is, and what the instances are. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.errors import HostError
from edge.hosts.port import Instance, InstanceId, Slot
from edge.messages.desired import HostKind, Module
from edge.stock.port import StoredImage
from edge.switch.record import Release

BUNDLE_KINDS = ("code", "model")


def choose_host(module: Module, image: StoredImage, kinds: Sequence[str]) -> HostKind:
    """Where it runs. ``kinds``: of the hosts that are here, the preferred first. Raises
    HostError."""
    wanted = module.host
    if image.kind in ("fpga", "bundle"):
        if wanted == "docker":
            raise HostError(
                f"{module.image} is no container (it was made with --base none, or for an FPGA), so"
                " that Docker cannot run it; say host: process"
            )
        wanted = "process"
    for kind in ("docker", "process"):
        if kind in kinds and wanted in (None, kind):
            return "docker" if kind == "docker" else "process"
    raise HostError(f"{module.image} needs the host {wanted}, which this device does not have")


def is_model_only(
    old: Release, new: Module, old_image: StoredImage, new_image: StoredImage
) -> bool:
    """Whether the running instance can serve the new bundle after a reload: only the bundle's
    layers differ, and nothing of the module but its image. ``old_image``: what the instance was
    started from."""
    if old_image.kind != new_image.kind or new_image.kind == "fpga":
        return False
    if _settings(old.module) != _settings(new):
        return False
    return _below(old_image) == _below(new_image) and _config(old_image) == _config(new_image)


def instance(
    module: Module, slot: Slot, runtime: str, kind: str, bundle: Path, run_folder: Path
) -> Instance:
    """``runtime``: the image to start; ``kind``: of that image."""
    is_live = slot == "live"
    return Instance(
        InstanceId(module.name, slot),
        runtime,
        port=(module.port or 0) if is_live else 0,
        address=module.address if is_live and module.port else "127.0.0.1",
        env=module.env,
        args=module.args,
        limits=module.limits,
        bundle=None if kind == "fpga" else bundle,
        run_folder=run_folder,
    )


def _settings(module: Module) -> tuple[object, ...]:
    """What the instance was started with, beside its image."""
    return (
        module.port,
        module.address,
        module.env,
        module.args,
        module.host,
        module.limits,
    )


def _below(image: StoredImage) -> list[str]:
    return [each.digest for each in image.layers if each.kind not in BUNDLE_KINDS]


def _config(image: StoredImage) -> Any:
    """Of a container, what it is started with; labels name the version, and do not count."""
    try:
        found = json.loads(image.config)
        settings = dict(found.get("config") or {})
        settings.pop("Labels", None)
        return found.get("architecture"), settings
    except (ValueError, AttributeError, TypeError):
        return image.config_digest
