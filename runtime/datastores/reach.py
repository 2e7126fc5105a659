"""Where a datastore may be: anywhere, or, with the setting ``reach=public``, at public addresses
only. That one is for who must not send this machine into its own network.

A name is looked up once for each connection, all its addresses are checked, and those are connected
to: what the name means a moment later matters to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from registry.remote.addresses import Reach, reach_of, resolve
from runtime.datastores.errors import InsideError, UnreachableError

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host and port. Raises OSError."""


@dataclass(frozen=True, slots=True)
class PublicOnly:
    """``resolve``: what looks names up."""

    resolve: Resolve = resolve

    def lookup(self, host: str, port: int) -> list[str]:
        """The addresses to connect to, at least one. Raises UnreachableError where there is no such
        host, and InsideError where one of them is not public."""
        try:
            found = list(self.resolve(host, port))
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise UnreachableError(f"there is no host {ascii(host)[:80]}; check its name")
        for address in found:
            self.check(address, host)
        return found

    def check_written(self, host: str, port: int) -> None:
        """Of a host that is an address itself, in any of the ways that the system understands: no
        name is looked up. Raises as ``lookup``."""
        if ":" in host or host.replace(".", "").isdigit():
            self.lookup(host, port)

    def check(self, address: str, host: str | None = None) -> None:
        """``host``: how it was named. Raises InsideError."""
        if reach_of(address) != Reach.PUBLIC:
            raise InsideError(
                f"{ascii(host or address)[:80]} is at no public address: only an owner may name it,"
                " or the service's operator can allow it (inferry registry serve --allow-internal)"
            )


def reach_in(settings: Mapping[str, str], resolve: Resolve) -> PublicOnly | None:
    """What the settings of a datastore say; None: anywhere."""
    return PublicOnly(resolve) if settings.get("reach") == "public" else None
