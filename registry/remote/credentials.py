"""Who we are to a registry: from where docker, podman and the environment keep it.

First found wins: $INFERRY_REGISTRY_USER and $INFERRY_REGISTRY_PASSWORD (for $INFERRY_REGISTRY_HOST
if that is set, else for every registry), $REGISTRY_AUTH_FILE, podman's auth.json, Docker's
config.json with its credential helpers. Nothing here prints what it read.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import RemoteError
from registry.remote.reference import DOCKER_HUB, HUB_API

USER_VARIABLE = "INFERRY_REGISTRY_USER"
PASSWORD_VARIABLE = "INFERRY_REGISTRY_PASSWORD"
HOST_VARIABLE = "INFERRY_REGISTRY_HOST"
HELPER_TIMEOUT_S = 20.0
MAX_FILE_BYTES = 1024 * 1024
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", DOCKER_HUB, HUB_API)
_IDENTITY_USER = "<token>"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password, or an ``identity_token`` that a token service exchanges, or a
    ``registry_token`` that is sent as it is."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header; empty without a user."""
        if not self.user:
            return ""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        known = (
            self.password,
            self.identity_token,
            self.registry_token,
            self.basic.removeprefix("Basic "),
        )
        return tuple(filter(None, known))


def find_credentials(host: str, path: str, environment: Mapping[str, str]) -> Credentials | None:
    """For the repository ``path`` at ``host``, or None. Raises RemoteError for a file or helper
    that should know them and fails."""
    if (given := _from_environment(host, environment)) is not None:
        return given
    for file in auth_files(environment):
        document = _read(file)
        if document is not None and (found := _from_file(document, host, path, environment)):
            return found
    return None


def auth_files(environment: Mapping[str, str]) -> list[Path]:
    """Where credentials may lie, the first to look at first."""
    if chosen := environment.get("REGISTRY_AUTH_FILE"):
        return [Path(chosen)]
    found = []
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime) / "containers/auth.json")
    home = environment.get("HOME")
    if config := environment.get("DOCKER_CONFIG"):
        found.append(Path(config) / "config.json")
    elif home:
        found.append(Path(home) / ".docker/config.json")
    return found


def _from_environment(host: str, environment: Mapping[str, str]) -> Credentials | None:
    password = environment.get(PASSWORD_VARIABLE, "")
    only = environment.get(HOST_VARIABLE, "")
    if not password or (only and only != host):
        return None
    user = environment.get(USER_VARIABLE, "")
    if any(not char.isprintable() for char in user + password):
        raise RemoteError(f"${USER_VARIABLE} or ${PASSWORD_VARIABLE} has a control character")
    return Credentials(user, password) if user else Credentials(registry_token=password)


def _read(file: Path) -> Mapping[str, Any] | None:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
        document = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RemoteError(f"the credentials in {file} cannot be read; mend or remove it")
    return document


def _from_file(
    document: Mapping[str, Any], host: str, path: str, environment: Mapping[str, str]
) -> Credentials | None:
    keys = list(_keys(host, path))
    helpers = _mapping(document.get("credHelpers"))
    for key in keys:
        if isinstance(helper := helpers.get(key), str):
            return _from_helper(helper, key, environment)
    auths = _mapping(document.get("auths"))
    store = document.get("credsStore")
    if isinstance(store, str) and store:
        asked = keys if any(key in auths for key in keys) or host == DOCKER_HUB else [host]
        for key in asked:
            if found := _from_helper(store, key, environment):
                return found
    stripped = {_bare(key): value for key, value in auths.items()}
    for key in keys:
        if found := _entry(_mapping(auths.get(key) or stripped.get(_bare(key)))):
            return found
    return None


def _keys(host: str, path: str) -> Iterator[str]:
    """Podman keeps credentials of a namespace too; the longest match counts."""
    parts = path.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join([host, *parts[:count]])
    if host == DOCKER_HUB:
        yield from _HUB_KEYS
    yield host


def _bare(key: str) -> str:
    """Old files have keys such as ``https://host/v1/``."""
    bare = key.partition("://")[2] or key
    return re.sub(r"/v[12]/?$", "", bare).rstrip("/")


def _entry(entry: Mapping[str, Any]) -> Credentials | None:
    identity, token = _text(entry, "identitytoken"), _text(entry, "registrytoken")
    user, password = _text(entry, "username"), _text(entry, "password")
    if auth := _text(entry, "auth"):
        try:
            user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise RemoteError(
                "the credentials kept for the registry are damaged; use docker login again"
            ) from None
    if not (user or identity or token):
        return None
    return Credentials(user, password.rstrip("\0"), identity, token)


def _from_helper(name: str, server: str, environment: Mapping[str, str]) -> Credentials | None:
    if not _HELPER.fullmatch(name):
        raise RemoteError(f"the credential helper {ascii(name)[:60]} is no program's name")
    said = _ask([f"docker-credential-{name}", "get"], server, environment)
    if said is None:
        return None
    try:
        answer = _mapping(json.loads(said))
    except (ValueError, RecursionError):
        answer = {}
    user, secret = _text(answer, "Username"), _text(answer, "Secret")
    if not secret:
        raise RemoteError(f"the credential helper docker-credential-{name} gave no password")
    if user == _IDENTITY_USER:
        return Credentials(identity_token=secret)
    return Credentials(user, secret)


def _ask(command: Sequence[str], server: str, environment: Mapping[str, str]) -> bytes | None:
    """What the helper prints; None if it knows no such server. Its words stay with us: they may
    hold a secret."""
    try:
        done = subprocess.run(
            command,
            input=server.encode(),
            capture_output=True,
            timeout=HELPER_TIMEOUT_S,
            check=False,
            env=dict(environment),
        )
    except subprocess.TimeoutExpired:
        raise RemoteError(
            f"the credential helper {command[0]} did not answer in {HELPER_TIMEOUT_S:.0f} s"
        ) from None
    except OSError:
        raise RemoteError(
            f"the credential helper {command[0]} cannot be started; install it, or use docker login"
            " without it"
        ) from None
    if done.returncode != 0:
        if b"not found" in done.stdout + done.stderr:
            return None
        raise RemoteError(f"the credential helper {command[0]} failed for {server}")
    return done.stdout[:MAX_FILE_BYTES]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    return value if isinstance(value, str) else ""
