"""Secrets of a container on another machine, which has no folder of this one: a volume in that
machine's memory. They are in no image, variable or label, and on no disk of it.

with secrets_volume(client, "site-7", instance, image, python) as volume:
    ...create and start the container with the volume...

Such a volume is there only while a container that has it runs. So a helper holds it for the block:
it does nothing, has no network, and ends by itself.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import HostError
from edge.hosts.container_settings import (
    LABEL,
    MODULE,
    SLOT,
    confinement,
    container_name,
    secrets_mount,
)
from edge.hosts.port import SECRETS_FOLDER, Instance, InstanceId

if TYPE_CHECKING:
    import docker

HELD = f"{LABEL}.secrets"
"""A helper's label; its value: the device."""
USER = 10001
"""Whom images run as."""
HELD_S = 120
SPARE_BYTES = 1 << 20
PAGE_BYTES = 4096


@contextlib.contextmanager
def secrets_volume(
    to: docker.APIClient, device: str, instance: Instance, image: str, python: str | None
) -> Iterator[str | None]:
    """The volume's name, None without secrets. ``image``: one with the program ``python``. Raises
    HostError."""
    clear(to, device, instance.id)
    if instance.secrets_folder is None:
        yield None
        return
    if python is None:
        raise HostError(f"{instance.id} has secrets, and its image does not say where Python is")
    files, name = read(instance.secrets_folder), volume_name(device, instance.id)
    to.create_volume(name, "local", driver_options(files), _labels(device, instance.id))
    try:
        helper = _helper(to, device, instance, image, python, name)
        if not to.put_archive(helper, SECRETS_FOLDER, archive(files)):
            raise HostError(f"the secrets of {instance.id} could not be handed over")
        yield name
    except BaseException:
        with contextlib.suppress(Exception):
            clear(to, device, instance.id)
        raise
    to.remove_container(helper, force=True)


def clear(to: docker.APIClient, device: str, id: InstanceId) -> None:
    """Helpers that were left over, and the volume where nothing has it. Idempotent."""
    import docker

    labels = [f"{key}={value}" for key, value in _labels(device, id).items()]
    for left in to.containers(all=True, filters={"label": labels}):
        with contextlib.suppress(docker.errors.NotFound):
            to.remove_container(left["Id"], force=True)
    with contextlib.suppress(docker.errors.NotFound):
        try:
            to.remove_volume(volume_name(device, id))
        except docker.errors.APIError as error:
            if error.status_code != 409:  # in use
                raise


def volume_name(device: str, id: InstanceId) -> str:
    """One for each instance."""
    return f"{container_name(device, id)}-secrets"


def read(folder: Path) -> Mapping[str, bytes]:
    """By name. Raises HostError."""
    try:
        return {each.name: each.read_bytes() for each in sorted(folder.iterdir())}
    except OSError as error:
        raise HostError(f"secrets cannot be read: {error.strerror}") from None


def driver_options(files: Mapping[str, bytes]) -> dict[str, str]:
    """Of a volume in memory that has room for these, for the images' user alone. Pure."""
    pages = sum(-(-len(data) // PAGE_BYTES) + 1 for data in files.values())
    size = SPARE_BYTES + pages * PAGE_BYTES
    options = f"size={size},mode=0700,uid={USER},gid={USER},noexec,nosuid,nodev"
    return {"type": "tmpfs", "device": "tmpfs", "o": options}


def archive(files: Mapping[str, bytes]) -> bytes:
    """As the engine takes them. Pure."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as found:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(data), 0o400, USER, USER
            found.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _labels(device: str, id: InstanceId) -> dict[str, str]:
    return {HELD: device, MODULE: id.module, SLOT: id.slot}


def _helper(
    to: docker.APIClient, device: str, instance: Instance, image: str, python: str, volume: str
) -> str:
    settings: dict[str, Any] = {
        **confinement(instance, volume),
        "network_mode": "none",
        "port_bindings": {},
        "mounts": [secrets_mount(volume, is_read_only=False)],
    }
    made = to.create_container(
        image,
        entrypoint=[python, "-c", f"import time; time.sleep({HELD_S})"],
        labels=_labels(device, instance.id),
        host_config=to.create_host_config(**settings),
    )
    to.start(made["Id"])
    return str(made["Id"])
