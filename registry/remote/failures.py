"""What it means that a server cannot be reached or trusted, and which certificates are."""

from __future__ import annotations

import ssl
from pathlib import Path

from registry.errors import RemoteError
from registry.remote.retrying import TransientError


class UnreachableError(RemoteError):
    """There is no such host, or no name service."""


class CutError(TransientError):
    """The connection broke, or nothing came for too long."""


def trusted(ca_file: Path | None) -> ssl.SSLContext:
    """The system's certificate authorities, and the given one."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError):
            raise RemoteError(
                f"the CA file {ca_file} cannot be read; it must hold certificates in PEM form"
            ) from None
    return context


def not_connected(cause: object, host: str) -> RemoteError:
    """``cause``: what the system or TLS said."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RemoteError(
            f"the certificate of {host} is not trusted ({cause.verify_message}); give the"
            " authority that signed it as the CA file"
        )
    if isinstance(cause, ssl.SSLError):
        return RemoteError(
            f"{host} does not speak TLS; if it is a registry with plain HTTP, say that it is"
            " insecure"
        )
    if isinstance(cause, ConnectionRefusedError):
        return RemoteError(f"nothing listens at {host}; check that the registry runs, and the port")
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return CutError(f"{host} cut the connection; try again")
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no reason"
    return RemoteError(f"{host} cannot be reached ({reason.lower()}); check the network")
