"""What a datastore of each kind can be told, and which secrets it takes. Pure.

file  path                                                     (no secret)
sftp  host, port, user, path, host_key, reach                  password or private_key
s3    bucket, prefix, endpoint, region, addressing, access_key_id, reach
                                                               secret_access_key, session_token
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from registry import names
from registry.errors import InvalidNameError

Kind = Literal["file", "sftp", "s3"]
WORKSPACE = "workspace"
"""The datastore that each workspace has: a folder in it."""
MAX_SECRET_BYTES = 64 * 1024
# A path on a server; from its user's home where it does not begin with a slash.
_PATH = re.compile(r"[^\0-\x1f\x7f]{1,1000}")
_REACH = re.compile(r"public")
SETTINGS: Mapping[Kind, Mapping[str, re.Pattern[str]]] = {
    "file": {"path": re.compile(r"/[^\0-\x1f\x7f]{0,4000}")},
    "sftp": {
        "host": re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._:-]{0,253}[0-9A-Za-z])?|::1"),
        "port": re.compile(r"[1-9][0-9]{0,4}"),
        "user": re.compile(r"[0-9A-Za-z._][0-9A-Za-z._@\\-]{0,127}"),
        "path": _PATH,
        # The key itself, as ssh-keyscan prints it, or its fingerprint, as ssh-keygen -l does.
        "host_key": re.compile(
            r"[a-z0-9@.-]{3,64} [A-Za-z0-9+/]{16,4096}={0,2}|SHA256:[A-Za-z0-9+/]{43}"
        ),
        "reach": _REACH,
    },
    "s3": {
        "bucket": re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{1,253}[0-9A-Za-z]"),
        "prefix": re.compile(r"[^\0-\x1f\x7f/][^\0-\x1f\x7f]{0,499}"),
        "endpoint": re.compile(
            r"https?://[0-9A-Za-z.-]{1,253}(:[0-9]{1,5})?/?|https?://\[[0-9a-f:]{2,39}\](:[0-9]{1,5})?/?"
        ),
        "region": re.compile(r"[0-9a-z][0-9a-z-]{0,62}"),
        "addressing": re.compile(r"path|virtual"),
        "access_key_id": re.compile(r"[\x21-\x7e]{1,256}"),
        "reach": _REACH,
    },
}
_HINTS = {
    "path": ": it is a path without control characters; of kind file it begins with a slash",
    "host": ": it is a name or an address",
    "port": ": it is a number from 1 to 65535",
    "host_key": ": it is a key such as 'ssh-ed25519 AAAA...', or a fingerprint, SHA256:...",
    "prefix": ": it is a path without a slash before it, such as a/b",
    "endpoint": ": it is http:// or https:// with a host and perhaps a port",
    "addressing": ": it is path or virtual",
    "reach": ": it is public, or is left out for any address",
}
SECRETS: Mapping[Kind, tuple[str, ...]] = {
    "file": (),
    "sftp": ("password", "private_key"),
    "s3": ("secret_access_key", "session_token"),
}
NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "file": ("path",),
    "sftp": ("host", "user"),
    "s3": ("bucket",),
}


def check_kind(kind: str) -> Kind:
    """``kind`` itself. Raises InvalidNameError."""
    for known in get_args(Kind):
        if kind == known:
            return known  # type: ignore[no-any-return]
    kinds = ", ".join(get_args(Kind))
    raise InvalidNameError(f"{ascii(kind)[:40]} is no kind of datastore; there are {kinds}")


def check_name(name: str) -> str:
    """``name`` itself. Raises InvalidNameError."""
    return names.check_name(name, "datastore name")


def check_settings(kind: Kind, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings themselves. Raises InvalidNameError; a value is never part of its message
    where it may be a secret that was put into the wrong place."""
    allowed = SETTINGS[kind]
    for key, value in settings.items():
        if key in SECRETS[kind]:
            raise InvalidNameError(f"{key} is a secret; give it with --secret {key}=FILE, or =-")
        if key not in allowed:
            raise InvalidNameError(
                f"a datastore of kind {kind} has no setting {ascii(key)[:40]};"
                f" there are {', '.join(allowed)}"
            )
        if not isinstance(value, str) or not allowed[key].fullmatch(value):
            raise InvalidNameError(f"the setting {key} cannot have this value{_HINTS.get(key, '')}")
    for key in NEEDED[kind]:
        if key not in settings:
            raise InvalidNameError(f"a datastore of kind {kind} needs the setting {key}")
    if int(settings.get("port", "22")) > 65535:
        raise InvalidNameError("the setting port is at most 65535")
    _check_parts(settings.get("prefix", ""))
    return dict(settings)


def check_secrets(kind: Kind, settings: Mapping[str, str], secrets: Mapping[str, bytes]) -> None:
    """Whether these secrets fit this kind and these settings. Raises InvalidNameError."""
    for key, value in secrets.items():
        if key not in SECRETS[kind]:
            known = ", ".join(SECRETS[kind]) or "none"
            raise InvalidNameError(
                f"a datastore of kind {kind} has no secret {ascii(key)[:40]}; there are: {known}"
            )
        if not 0 < len(value) <= MAX_SECRET_BYTES:
            raise InvalidNameError(
                f"the secret {key} has {len(value)} bytes; between 1 and {MAX_SECRET_BYTES} are"
                " allowed"
            )
    complaint = _COMPLAINTS[kind](settings, secrets)
    if complaint:
        raise InvalidNameError(complaint)


def _file_complaint(settings: Mapping[str, str], secrets: Iterable[str]) -> str | None:
    return None


def _sftp_complaint(settings: Mapping[str, str], secrets: Iterable[str]) -> str | None:
    if not list(secrets):
        return "a datastore of kind sftp needs the secret private_key or password"
    return None


def _s3_complaint(settings: Mapping[str, str], secrets: Iterable[str]) -> str | None:
    has_key = "secret_access_key" in secrets
    if ("access_key_id" in settings) != has_key:
        return (
            "the setting access_key_id and the secret secret_access_key go together; without both,"
            " the bucket is read as anybody"
        )
    if "session_token" in secrets and not has_key:
        return "the secret session_token needs the secret secret_access_key"
    return None


_COMPLAINTS = {"file": _file_complaint, "sftp": _sftp_complaint, "s3": _s3_complaint}


def _check_parts(prefix: str) -> None:
    if prefix and any(part in ("", ".", "..") for part in prefix.rstrip("/").split("/")):
        raise InvalidNameError(f"the setting prefix cannot have this value{_HINTS['prefix']}")
