"""What kind of change it is, and what the instances are. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.errors import HostError
from edge.hosts.fingerprint import fingerprint
from edge.hosts.port import Instance, InstanceId, Slot
from edge.messages.desired import HostKind, Module
from edge.stock.port import StoredImage
from edge.switch.bundles import ModuleFolders
from edge.switch.record import Release
from edge.switch.shadow import capture_arguments

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


def check_update(module: Module, image: StoredImage) -> None:
    """Whether it can be updated as it says. Raises HostError."""
    if image.kind != "fpga":
        return
    if module.update.strategy == "beside":
        raise HostError(
            f"{module.image} is for an FPGA: two versions cannot have one board beside each other;"
            " leave update.strategy out, or say replace"
        )
    if module.update.shadow_s > 0:
        raise HostError(
            f"{module.image} is for an FPGA: a shadow run needs two versions beside each other, and"
            " they cannot have one board; leave update.shadow_s out"
        )


def instance(release: Release, slot: Slot, folders: ModuleFolders) -> Instance:
    """What the host is asked for. A candidate answers where only this device can ask it."""
    module, is_live = release.module, slot == "live"
    folder = folders.capture if is_live and module.update.shadow_s > 0 else None
    return Instance(
        InstanceId(module.name, slot),
        release.runtime,
        port=(module.port or 0) if is_live else 0,
        address=module.address if is_live and module.port else "127.0.0.1",
        env=module.env,
        args=(*module.args, *capture_arguments(release.host, folder)),
        limits=module.limits,
        bundle=folders.slot(slot),
        run_folder=folders.run,
        capture_folder=folder,
    )


def is_served_alike(old: Release, new: Release) -> bool:
    """Whether an instance of ``old`` can serve ``new``, by a reload at most."""
    nowhere = ModuleFolders(Path("/"), new.module.name, None)
    made = [fingerprint(instance(each, "live", nowhere)) for each in (old, new)]
    return old.host == new.host and old.kind == new.kind and made[0] == made[1]


def has_equal_packages(old: StoredImage, new: StoredImage) -> bool:
    """Whether only the bundle's layers differ, so that what was started from ``old`` can serve the
    bundle of ``new``. An FPGA image is all bundle."""
    if old.kind != new.kind:
        return False
    return new.kind == "fpga" or (_below(old) == _below(new) and _config(old) == _config(new))


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
