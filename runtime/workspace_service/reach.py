"""Where a client may send the service: to public addresses, unless its operator said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from registry.remote.addresses import Reach, resolve, within
from runtime.errors import BadValueError
from runtime.workspace_service.faults import Fault

SFTP_PORT, HTTPS_PORT = 22, 443


def hosts_of(kind: str, settings: Mapping[str, str]) -> list[tuple[str, int]]:
    """Hosts and ports that a datastore with these settings, which were checked, is at. Pure."""
    if kind == "sftp":
        return [(settings["host"], int(settings.get("port", SFTP_PORT)))]
    if kind != "s3" or "endpoint" not in settings:
        return []  # AWS, by its region
    try:
        parts = urlsplit(settings["endpoint"])
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
    except ValueError:
        raise BadValueError("the setting endpoint is no URL") from None
    if settings.get("addressing") == "virtual":
        return [(host, port), (f"{settings['bucket']}.{host}", port)]
    return [(host, port)]


def check_public(host: str, port: int) -> None:
    """Raises BadValueError where there is no such host, and Fault 403 where it is not public."""
    try:
        found = resolve(host, port)
    except (OSError, UnicodeError):
        raise BadValueError(f"there is no host {ascii(host)[:80]}; check its name") from None
    if not found or within(found, Reach.PUBLIC) != found:
        raise Fault(
            403,
            "forbidden",
            f"{ascii(host)[:80]} is at no public address: only an owner may name it, or the"
            " service's operator can allow it (inferry registry serve --allow-internal)",
        )
