"""Targets of the kind ``docker``: which engine, where its replicas are reached, and what it is.

host = docker_host(workspace.root, target, stock)
replicas_address(target)          # where HAProxy finds the replicas
found = tried(target)             # asked now: version, architecture, memory
"""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EdgeError, HostError
from edge.hosts.containers import DockerHost
from edge.stock.port import Stock
from registry.deployments import Target
from registry.docker_engine import connect, errors_said
from registry.engine_address import EngineAddress, check_address
from registry.errors import EngineError
from runtime.deployments.publication import address_of

LIST_AGE_S = 0.3
"""How old may be what an engine said of its containers: each replica has a keeper that asks."""
NEAR_S, FAR_S = 5, 10
"""For a connection: ssh greets for a while."""
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine that answered."""

    version: str
    architecture: str
    cpus: int
    memory_bytes: int


def engine_address(target: Target) -> EngineAddress | None:
    """None: this machine's. Raises HostError."""
    settings = target.settings
    if "url" not in settings:
        useless = [key for key in ("tls", "ssh_config", "insecure") if key in settings]
        if useless:
            raise HostError(f"target {target.name}: {useless[0]} says nothing without url")
        return None
    address = EngineAddress(
        settings["url"],
        _path(settings.get("tls")),
        _path(settings.get("ssh_config")),
        is_insecure=settings.get("insecure") == "true",
    )
    try:
        return check_address(address)
    except EngineError as error:
        raise HostError(f"target {target.name}: {error}") from None


def replicas_address(target: Target) -> str:
    """An address of the engine's machine, for ports of replicas, by which HAProxy reaches them.
    Raises EdgeError for a name that has none."""
    if "address" in target.settings:
        return address_of(target.settings["address"])
    address = engine_address(target)
    if address is None or not address.is_elsewhere:
        return LOOPBACK
    try:
        return address_of(address.host)
    except EdgeError as error:
        raise HostError(
            f"target {target.name}: {error}; say where replicas are reached, with"
            " --set address=ADDRESS when it is attached"
        ) from None


def docker_host(root: Path, target: Target, stock: Stock) -> DockerHost:
    """Not connected yet. ``root``: of the workspace, of which an engine may have several. Raises
    HostError."""
    address = engine_address(target)
    return DockerHost(
        f"ws-{workspace_mark(root)}-{target.name}",
        stock,
        list_age_s=LIST_AGE_S,
        connect_timeout_s=NEAR_S if address is None or not address.is_elsewhere else FAR_S,
        address=address,
    )


def workspace_mark(root: Path) -> str:
    """A short name that no other workspace of this machine has, most probably."""
    return f"{zlib.crc32(os.fsencode(root.resolve())):08x}"


def tried(target: Target) -> FoundEngine:
    """The engine as it is now. Raises HostError."""
    address = engine_address(target)
    try:
        engine = connect(FAR_S, FAR_S, address)
        with contextlib.closing(engine), errors_said(f"the engine of {target.name} says nothing"):
            said = engine.client.info()
            return FoundEngine(
                str(said["ServerVersion"]),
                str(said["Architecture"]),
                int(said["NCPU"]),
                int(said["MemTotal"]),
            )
    except EngineError as error:
        raise HostError(f"target {target.name}: {error}") from error


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
