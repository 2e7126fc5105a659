"""From the record of a datastore to its files: which settings mean what. Packages that only one
kind needs are loaded when one of that kind is opened."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from registry.datastores import WORKSPACE
from registry.datastores import Datastore as Record
from registry.remote import addresses
from runtime.datastores.errors import (
    MissingExtraError,
    MissingFileError,
    RefusedError,
    UnreachableError,
)
from runtime.datastores.folder import FolderFiles
from runtime.datastores.guard import Guard
from runtime.datastores.port import Files
from runtime.datastores.reach import PublicOnly, Resolve, reach_in

if TYPE_CHECKING:
    from runtime.datastores.s3 import S3Files
    from runtime.datastores.sftp import SftpFiles

SFTP_PORT, HTTPS_PORT = 22, 443
REGION = "us-east-1"
_PACKAGES = {"sftp": ("fsspec", "sshfs", "asyncssh"), "s3": ("fsspec", "s3fs")}


def open_files(
    record: Record,
    secrets: Mapping[str, bytes],
    workspace_folder: Path,
    *,
    resolve: Resolve = addresses.resolve,
    guard: Guard | None = None,
) -> Files:
    """The files; nothing is connected yet. ``workspace_folder``: where those of the datastore
    ``workspace`` are; ``resolve`` looks up the names of servers that must be public; ``guard``: for
    whom is elsewhere. Raises MissingExtraError, RefusedError, InsideError."""
    _need(record.kind)
    public = reach_in(record.settings, resolve)
    match record.kind:
        case "sftp":
            return _sftp(record.settings, secrets, public)
        case "s3":
            return _s3(record.settings, secrets, public)
        case _:
            if record.name == WORKSPACE:
                workspace_folder.mkdir(exist_ok=True)
                own = None if guard is None else replace(guard, is_own=True)
                return FolderFiles(workspace_folder, guard=own)
            return FolderFiles(Path(record.settings["path"]), guard=guard)


def try_files(
    record: Record,
    secrets: Mapping[str, bytes],
    *,
    known_hosts: Path | None,
    resolve: Resolve = addresses.resolve,
) -> dict[str, str]:
    """Whether the place can be reached and listed, with these credentials; the settings to keep,
    which for SFTP have the server's own key in them. Raises DatastoreErrors."""
    _need(record.kind)
    settings = dict(record.settings)
    public = reach_in(settings, resolve)
    match record.kind:
        case "sftp":
            from runtime.datastores.ssh.host_keys import pinned

            settings["host_key"] = pinned(
                settings["host"],
                _port(settings),
                settings.get("host_key"),
                None if known_hosts is None else str(known_hosts),
                public=public,
            )
            sftp = _sftp(settings, secrets, public)
            try:
                sftp.check()
            finally:
                sftp.close()
        case "s3":
            s3 = _s3(settings, secrets, public)
            try:
                s3.check()
            finally:
                s3.close()
        case _:
            if not Path(settings["path"]).is_dir():
                raise MissingFileError(f"'{settings['path']}' is no folder; make it first")
    return settings


def _sftp(
    settings: Mapping[str, str], secrets: Mapping[str, bytes], public: PublicOnly | None
) -> SftpFiles:
    from runtime.datastores.sftp import SftpFiles
    from runtime.datastores.ssh.login import Login

    login = Login(
        host=settings["host"],
        port=_port(settings),
        user=settings["user"],
        host_key=settings["host_key"],
        password=_text(secrets, "password"),
        private_key=_text(secrets, "private_key", strips=False),
        public=public,
    )
    return SftpFiles(login, settings.get("path", "."))


def _s3(
    settings: Mapping[str, str], secrets: Mapping[str, bytes], public: PublicOnly | None
) -> S3Files:
    from runtime.datastores.s3 import Bucket, S3Files

    if public is not None and "endpoint" in settings:
        parts = urlsplit(settings["endpoint"])
        public.check_written(parts.hostname or "", _port_of(parts))
    region = settings.get("region", REGION)
    bucket = Bucket(
        name=settings["bucket"],
        endpoint=settings.get("endpoint", f"https://s3.{region}.amazonaws.com").rstrip("/"),
        region=region,
        is_virtual=settings.get("addressing", "path") == "virtual",
        access_key_id=settings.get("access_key_id"),
        secret_access_key=_text(secrets, "secret_access_key"),
        session_token=_text(secrets, "session_token"),
        public=public,
    )
    return S3Files(bucket, settings.get("prefix", ""))


def _port(settings: Mapping[str, str]) -> int:
    return int(settings.get("port", SFTP_PORT))


def _port_of(parts: SplitResult) -> int:
    try:
        return parts.port or HTTPS_PORT
    except ValueError:
        raise UnreachableError("the port of the setting endpoint is at most 65535") from None


def _text(secrets: Mapping[str, bytes], name: str, *, strips: bool = True) -> str | None:
    """A file that holds a password often ends with a line break, which is not part of it."""
    if name not in secrets:
        return None
    try:
        text = secrets[name].decode()
    except UnicodeDecodeError:
        raise RefusedError(f"the secret {name} is no text") from None
    return text.rstrip("\r\n") if strips else text


def _need(kind: str) -> None:
    for package in _PACKAGES.get(kind, ()):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"a datastore of kind {kind} needs packages that are not installed here:"
                " pip install 'inferry[datastores]'"
            )
