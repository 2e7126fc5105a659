"""What one registry service is told, with every default and unit."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BadValueError


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Where the service listens and what it takes."""

    host: str = "127.0.0.1"
    port: int = 5000
    """0: the kernel chooses."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    is_insecure: bool = False
    """Whether it may listen beyond this machine without TLS."""
    public_hosts: tuple[str, ...] = ()
    """Names by which a proxy on this machine is reached."""
    has_access_log: bool = False
    max_connections: int = 512
    drain_s: int = 8

    @property
    def is_tls(self) -> bool:
        """Whether it speaks HTTPS."""
        return self.tls_cert is not None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine itself."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(config: ServiceConfig, *, has_tokens: bool) -> None:
    """Raises BadValueError when it would be open to others without token or without TLS."""
    if (config.tls_cert is None) != (config.tls_key is None):
        raise BadValueError("TLS needs both --tls-cert and --tls-key")
    if config.is_loopback:
        return
    if not has_tokens:
        raise BadValueError(
            f"others could reach {config.host} and push without a token;"
            " make one first: inferry registry token create NAME"
        )
    if not config.is_tls and not config.is_insecure:
        raise BadValueError(
            f"tokens would cross the network to {config.host} in plain text; give --tls-cert and"
            " --tls-key, or --insecure-http where something else encrypts"
        )
