"""Takes devices into the fleet, and lets them go: certificate, token, record in the hub.

enroll(workspace, database, "press-7", Enrolment(broker=...), target=Path("press-7.tar"))
revoke(workspace, "press-7")
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from runtime.edge_hub import Address, authority, edge_folder
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from edge.hub.database import Database
    from registry import Workspace

BROKER_NOTE = "broker-folder"
"""A file that says where broker-config wrote the broker's files: its list of revoked certificates
is kept up to date there."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What goes into agent.toml. ``registry`` None: the device cannot pull."""

    broker: Address
    registry: str | None = None
    registry_ca: Path | None = None
    server_name: str | None = None
    keepalive_s: int = 60
    state: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def enroll(
    workspace: Workspace,
    database: Database,
    device: str,
    enrolment: Enrolment,
    target: Path,
) -> None:
    """Write all that the device needs to ``target`` (a folder, or a .tar), and hear it from now on.
    Raises EdgeError, RegistryError, BadValueError."""
    from edge.enrolment import DeviceSettings, device_files, write_files
    from edge.hub import devices
    from edge.topics import check_device
    from registry.distribution import Distribution
    from registry.paths import WorkspacePaths
    from registry.trust import WorkspaceKey

    check_device(device)
    if target.suffix == ".tar" and target.exists():
        raise BadValueError(f"{target} is there already; name another, or move it away")
    issuer = authority(workspace.root)
    token = None
    if enrolment.registry is not None:
        tokens = Distribution.open(workspace.root).tokens
        token = tokens.create(f"{_tokens_of(device)}.{secrets.token_hex(4)}", "puller", None)
    settings = DeviceSettings(
        broker_host=enrolment.broker.host,
        broker_port=enrolment.broker.port,
        server_name=enrolment.server_name,
        keepalive_s=enrolment.keepalive_s,
        registry_url=enrolment.registry,
        registry_token=token,
        registry_ca=_read(enrolment.registry_ca),
        signing_key=WorkspaceKey.load_or_create(WorkspacePaths(workspace.root).keys).public.pem,
        state=enrolment.state,
    )
    write_files(target, device_files(issuer, device, settings))
    now_ms = time.time_ns() // 1_000_000
    devices.enrol(database, device, now_ms=now_ms, tags=enrolment.tags or None)


def revoke(workspace: Workspace, device: str) -> tuple[int, int, Path | None]:
    """Its certificates and tokens are worthless from now on. Returns how many of each, and the
    broker's folder when that has the new list. Raises EdgeError, RegistryError."""
    from edge.errors import NotFoundError
    from registry.distribution import Distribution

    issuer = authority(workspace.root)
    tokens = Distribution.open(workspace.root).tokens
    names = [
        token.name
        for token in tokens.list()
        if token.revoked_at is None and token.name.rpartition(".")[0] == _tokens_of(device)
    ]
    for name in names:
        tokens.revoke(name)
    try:
        certificates = issuer.revoke(device)
    except NotFoundError:
        if not names:
            raise
        certificates = 0
    return certificates, len(names), _tell_broker(workspace.root, issuer.revocations)


def write_broker_files(
    workspace: Workspace, folder: Path, names: list[str], *, port: int, data: PurePosixPath | None
) -> None:
    """What mosquitto needs, into ``folder``. Raises EdgeError."""
    from edge.enrolment import broker_files, write_files
    from edge.enrolment.broker_files import DATA

    absolute = folder.absolute()
    files = broker_files(
        authority(workspace.root),
        names,
        folder=PurePosixPath(absolute),
        port=port,
        data=data or DATA,
    )
    write_files(absolute, files)
    (edge_folder(workspace.root) / BROKER_NOTE).write_text(str(absolute))


def _tell_broker(root: Path, revocations: bytes) -> Path | None:
    from edge.enrolment.files import PLAIN, write_whole

    note = edge_folder(root) / BROKER_NOTE
    if not note.exists():
        return None
    folder = Path(note.read_text())
    if not folder.is_dir():
        return None
    write_whole(folder / "crl.pem", revocations, PLAIN)
    return folder


def _tokens_of(device: str) -> str:
    return f"edge.{device}"


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadValueError(f"'{path}' cannot be read: {error.strerror}") from error
