"""An instance as what Docker is asked for: names, labels, limits, mounts; and what Docker says of a
container as what the agent knows. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edge.errors import HostError
from edge.hosts.port import (
    CAPTURE_FOLDER,
    SECRETS_FOLDER,
    SECRETS_VARIABLE,
    Instance,
    InstanceId,
    Observed,
)
from edge.stock.port import StoredImage
from registry.image_tree import BUNDLE_ROOT, PORT
from registry.platforms import Platform

LABEL = "dev.inferry.edge"
"""Its value: the device."""
MODULE, SLOT, DIGEST, SPEC, BOOT = (
    f"{LABEL}.{name}" for name in ("module", "slot", "digest", "spec", "boot")
)
REPOSITORY = "inferry-edge"
RUN_FOLDER = "/run/inferry"
SOCKET_VARIABLE = "INFERRY_AGENT_SOCKET"
LIVE_BUNDLE = "/opt/inferry/live"
"""Where a bundle folder of the device is, with its link ``current``."""
TMPFS = "size=256m,mode=1777,noexec,nosuid,nodev"
LOG = {"Type": "local", "Config": {"max-size": "1m", "max-file": "2"}}
OOM_SCORE = 500
"""Where the machine's memory runs out, a module goes before the agent."""
RUNNING = ("running", "paused", "restarting", "removing")


def image_name(device: str, digest: str) -> str:
    """Of the image in the engine. The device is in it: two agents may share an engine."""
    return f"{REPOSITORY}/{digest.removeprefix('sha256:')[:32]}:{device}"


def container_name(device: str, id: InstanceId) -> str:
    """The engine refuses a second one."""
    return f"{REPOSITORY}-{device}-{id.module}-{id.slot}"


def labels(device: str, instance: Instance, spec: str, boot: str) -> dict[str, str]:
    """By which a restarted agent finds it. ``boot``: of the device."""
    return {
        LABEL: device,
        MODULE: instance.id.module,
        SLOT: instance.id.slot,
        DIGEST: instance.digest,
        SPEC: spec,
        BOOT: boot,
    }


def environment(instance: Instance) -> dict[str, str]:
    """Beside the image's own."""
    own = {} if instance.run_folder is None else {SOCKET_VARIABLE: f"{RUN_FOLDER}/agent.sock"}
    if instance.secrets_folder is not None:
        own[SECRETS_VARIABLE] = SECRETS_FOLDER
    return {**instance.env, **own}


def entrypoint(instance: Instance, config: bytes) -> Sequence[str] | None:
    """None: the image's own. With a bundle of the device, its command serves that one."""
    if instance.bundle is None:
        return None
    own = (json.loads(config).get("config") or {}).get("Entrypoint") or []
    if f"/{BUNDLE_ROOT}" not in own:
        raise HostError(f"the image {instance.digest} does not serve a bundle that can be replaced")
    return [f"{LIVE_BUNDLE}/current" if each == f"/{BUNDLE_ROOT}" else str(each) for each in own]


def confinement(instance: Instance, secrets_volume: str | None = None) -> dict[str, Any]:
    """The host configuration: only what is needed is allowed. The agent decides about restarts.
    ``secrets_volume``: has the secrets, in place of a folder of this machine."""
    limits = instance.limits
    address = instance.address
    return {
        "network_mode": "bridge",
        "port_bindings": {PORT: (address, instance.port) if instance.port else (address,)},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": {"/tmp": TMPFS},
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "nano_cpus": None if limits.cpus is None else max(1, int(limits.cpus * 1e9)),
        "pids_limit": limits.processes,
        "oom_score_adj": OOM_SCORE,
        "log_config": LOG,
        "restart_policy": {"Name": "no"},
        "mounts": mounts(instance, secrets_volume),
    }


def mounts(instance: Instance, secrets_volume: str | None = None) -> list[dict[str, Any]]:
    """Folders of the device, read-only but the one that it fills; a socket in one can be spoken to
    all the same."""
    wanted = {
        LIVE_BUNDLE: instance.bundle,
        RUN_FOLDER: instance.run_folder,
        CAPTURE_FOLDER: instance.capture_folder,
        SECRETS_FOLDER: instance.secrets_folder if secrets_volume is None else None,
    }
    volumes = [] if secrets_volume is None else [secrets_mount(secrets_volume)]
    return volumes + [
        {
            "Type": "bind",
            "Source": str(folder),
            "Target": target,
            "ReadOnly": target != CAPTURE_FOLDER,
        }
        for target, folder in wanted.items()
        if folder is not None
    ]


def secrets_mount(volume: str, *, is_read_only: bool = True) -> dict[str, Any]:
    """A volume in place of the folder of secrets."""
    return {
        "Type": "volume",
        "Source": volume,
        "Target": SECRETS_FOLDER,
        "ReadOnly": is_read_only,
        "VolumeOptions": {"NoCopy": True},
    }


def check_platform(image: StoredImage, engine: Platform) -> None:
    """Whether the engine runs it without emulation. Raises HostError."""
    said = json.loads(image.config)
    found = f"{said.get('os', 'linux')}/{said.get('architecture', engine.architecture)}"
    if found != str(engine):
        raise HostError(
            f"{image.name or image.digest} is for {found}, and the engine runs {engine}; make the"
            f" image with: --platform {engine}"
        )


def check_elsewhere(instance: Instance) -> None:
    """Whether it can run on another machine, which has no folders of this one. Raises HostError."""
    if instance.bundle or instance.run_folder or instance.capture_folder:
        raise HostError(f"{instance.id} has folders of this machine, and runs on another")


def observed(details: Mapping[str, Any], boot: str) -> Observed | None:
    """Of what ``docker inspect`` says; None for one that was never started, or is not ours. One of
    an earlier boot did not end by itself: its exit code means nothing."""
    found, state = details["Config"].get("Labels") or {}, details["State"]
    if state["Status"] == "created" or found.get(SLOT) not in ("live", "next"):
        return None
    is_running = state["Status"] in RUNNING
    is_known = not is_running and found.get(BOOT) == boot
    bound = ((details.get("NetworkSettings") or {}).get("Ports") or {}).get(f"{PORT}/tcp") or []
    asked = (details["HostConfig"].get("PortBindings") or {}).get(f"{PORT}/tcp") or [{}]
    return Observed(
        InstanceId(found.get(MODULE, ""), found[SLOT]),
        found.get(DIGEST, ""),
        "running" if is_running else "exited",
        address=asked[0].get("HostIp") or "0.0.0.0",
        port=int(bound[0]["HostPort"]) if is_running and bound else None,
        exit_code=int(state["ExitCode"]) if is_known else None,
        is_out_of_memory=is_known and bool(state.get("OOMKilled")),
        started_at_s=seconds(state.get("StartedAt") or ""),
    )


def seconds(text: str) -> float | None:
    """Since 1970, of "2026-11-26T19:55:00.123456789Z"; None when it says nothing."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        found = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
        return None if found < 0 else found + float(f"0.{fraction or 0}")
    except ValueError:
        return None
