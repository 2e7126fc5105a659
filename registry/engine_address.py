"""Where a Docker Engine is, and what protects the way to it.

address = EngineAddress("tcp://gpu1:2376", tls=Path("/etc/inferry/gpu1"))
check_address(address)            # before anything is sent there

Whoever reaches an engine is root on its machine. So plain tcp:// leads to no other machine unless
somebody insists.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from registry.errors import EngineError

TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """``url``: unix:///SOCKET, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT]. ``tls``: a folder with
    TLS_FILES, for tcp://. ``ssh_config``: for ssh, in place of the user's. ``is_insecure``: plain
    tcp:// to another machine is meant so."""

    url: str
    tls: Path | None = None
    ssh_config: Path | None = None
    is_insecure: bool = False

    @property
    def parts(self) -> SplitResult:
        """Of the URL."""
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        """The machine's name or address; empty for a socket of this one."""
        return self.parts.hostname or ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it cannot be counted on to see the files of this machine: a port of this one may
        lead to another."""
        return self.parts.scheme != "unix"

    def __str__(self) -> str:
        return self.url


def check_address(address: EngineAddress) -> EngineAddress:
    """``address`` itself. Raises EngineError for one that cannot be, or that is open to all."""
    parts = address.parts
    if parts.scheme == "unix":
        if not parts.path.startswith("/") or parts.netloc:
            raise EngineError(f"{address}: write unix:///PATH")
        return address
    if parts.scheme not in ("tcp", "ssh"):
        raise EngineError(f"{address}: a Docker Engine is at unix://, tcp:// or ssh://")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise EngineError(f"{address}: write {parts.scheme}://HOST or {parts.scheme}://HOST:PORT")
    if parts.password is not None or (parts.scheme == "tcp" and parts.username is not None):
        raise EngineError("the url of a Docker Engine has no password in it; use keys")
    try:
        has_port = parts.port is not None
    except ValueError:
        raise EngineError(f"{address}: its port is no number from 0 to 65535") from None
    if parts.scheme == "tcp" and not has_port:
        raise EngineError(f"{address}: say the port, which is 2376 with TLS as a rule")
    _check_files(address)
    return address


def _check_files(address: EngineAddress) -> None:
    if address.parts.scheme == "ssh":
        if address.tls is not None:
            raise EngineError(f"{address}: TLS files are for tcp://; ssh protects itself")
        if address.ssh_config is not None and not address.ssh_config.is_file():
            raise EngineError("there is no such ssh_config file, or it cannot be read")
    elif address.ssh_config is not None:
        raise EngineError(f"{address}: ssh_config is for ssh://")
    elif address.tls is not None:
        missing = [name for name in TLS_FILES if not (address.tls / name).is_file()]
        if missing:
            raise EngineError(f"the folder of TLS files has no {' and no '.join(missing)}")
    elif not (_is_loopback(address.host) or address.is_insecure):
        raise EngineError(
            f"{address} without TLS makes everybody who reaches that port root there; set"
            " tls=FOLDER (ca.pem, cert.pem, key.pem), use ssh://, or insist with insecure=true"
        )


def tls_words(error: ssl.SSLError) -> str:
    """What is wrong, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "the connection broke"
    reason = (error.reason or "").replace("_", " ").lower()
    if "alert" in reason and ("cert" in reason or "unknown ca" in reason):
        return f"it does not take this machine's certificate, cert.pem ({reason})"
    return f"no TLS with it: {reason or 'the connection broke'}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
