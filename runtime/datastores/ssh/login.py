"""Where to log in, and as whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.datastores.reach import PublicOnly


@dataclass(frozen=True, slots=True)
class Login:
    """``host_key``: ``type base64``; ``public``: where the host may be, None: anywhere. Secrets are
    not shown."""

    host: str
    port: int
    user: str
    host_key: str
    password: str | None = None
    private_key: str | None = None
    public: PublicOnly | None = None

    def addresses(self) -> Sequence[str]:
        """What to connect to, in this order. Raises DatastoreErrors."""
        return addresses(self.host, self.port, self.public)

    def __repr__(self) -> str:
        return f"Login({self.user}@{self.host}:{self.port})"


def addresses(host: str, port: int, public: PublicOnly | None) -> Sequence[str]:
    """Of a host: its name, where it may be anywhere. Raises DatastoreErrors."""
    return (host,) if public is None else public.lookup(host, port)
