"""Where to log in, and as whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Login:
    """``host_key``: ``type base64``. Secrets are not shown."""

    host: str
    port: int
    user: str
    host_key: str
    password: str | None = None
    private_key: str | None = None

    def __repr__(self) -> str:
        return f"Login({self.user}@{self.host}:{self.port})"
