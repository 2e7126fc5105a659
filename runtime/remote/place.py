"""What the URL of a workspace means. Pure.

https://models.example.com         the service's default workspace
https://models.example.com/team    its workspace "team"
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from registry.errors import InvalidNameError
from registry.names import check_name
from registry.remote.addresses import is_loopback_host
from runtime.errors import BadValueError


@dataclass(frozen=True, slots=True)
class Place:
    """``root`` is the service's URL without a slash at its end; ``workspace`` is empty for the
    service's default one."""

    root: str
    workspace: str = ""

    @property
    def is_here(self) -> bool:
        """Whether the service is on this machine."""
        return is_loopback_host(urlsplit(self.root).hostname or "")

    @property
    def is_plain(self) -> bool:
        """Whether others on the way can read along."""
        return self.root.startswith("http:") and not self.is_here

    def __str__(self) -> str:
        return f"{self.root}/{self.workspace}" if self.workspace else self.root


def is_url(text: str) -> bool:
    """Whether it names a service and no folder."""
    return text.lower().startswith(("http://", "https://"))


def parse_place(text: str) -> Place:
    """Raises BadValueError."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadValueError(f"{text!a} is no URL of a service") from None
    if parts.username is not None or parts.password is not None:
        # A URL is seen by everyone who sees the command line; and this message shows no secret.
        raise BadValueError("leave name and password out of the URL; see inferry login")
    if not host or not host.isascii() or not is_url(text) or parts.query or parts.fragment:
        raise BadValueError(f"{text!a} is no URL of a service, such as https://host:5000")
    name = parts.path.strip("/")
    if name:
        try:
            check_name(name, "name of a workspace")
        except InvalidNameError as error:
            raise BadValueError(f"in {text!a}: {error}") from None
    shown = f"[{host}]" if ":" in host else host
    where = shown if port is None else f"{shown}:{port}"
    return Place(f"{parts.scheme.lower()}://{where}", name)
