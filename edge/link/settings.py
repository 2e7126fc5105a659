"""How a link is set up: where the broker is, how it is trusted, what is bounded."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

MAX_IN_FLIGHT = 20
MAX_QUEUED = 64
MAX_PACKET_BYTES = 1 << 20
"""What the broker may send us in one packet; it keeps larger ones to itself."""
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the module ssl does not name."""


@dataclass(frozen=True, slots=True)
class Tls:
    """``certificate`` and ``key``: ours, PEM; none: the broker asks for none. ``server_name``: in
    the broker's certificate, when it is not the host's name."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """``client``: the client id, the same as in the certificate. ``session_s``: for how long the
    broker keeps what is for us while we are away. ``will_delay_s``: a broker tells others that we
    are gone only after this long, so that a short cut is no news."""

    client: str
    host: str
    port: int = 1883
    tls: Tls | None = None
    keepalive_s: int = 60
    session_s: int = 14 * 86_400
    will_delay_s: int = 30
    min_wait_s: float = 1.0
    max_wait_s: float = 60.0
    max_in_flight: int = MAX_IN_FLIGHT
    max_queued: int = MAX_QUEUED
    max_packet_bytes: int = MAX_PACKET_BYTES


def tls_context(tls: Tls, is_clock_right: bool) -> ssl.SSLContext:
    """Raises OSError for files that cannot be read or are none."""
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate is not None and tls.key is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    if not is_clock_right:
        context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    return context
