"""Checks of what is reached over the network: names, broker and registry."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from edge.agent.check import Check, Probe, fail, ok, warn
from edge.agent.config import AgentConfig

TIMEOUT_S = 8.0
MAX_ANSWER = 16 * 1024


def names(config: AgentConfig) -> Check:
    """Broker and registry have addresses."""
    hosts = {config.broker.host: None}
    if config.registry is not None:
        hosts[urlsplit(config.registry.url).hostname or ""] = None
    for host in hosts:
        try:
            socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            return fail("names", f"{host}: {error.strerror}", "look at /etc/resolv.conf")
    return ok("names", f"{', '.join(hosts)} have addresses")


def broker(config: AgentConfig) -> Check:
    """It takes a connection."""
    where = f"{config.broker.host}:{config.broker.port}"
    try:
        with socket.create_connection((config.broker.host, config.broker.port), TIMEOUT_S):
            return ok("broker", f"{where} takes connections")
    except OSError as error:
        return fail(
            "broker",
            f"{where}: {error.strerror or error}",
            "look at the network, a firewall, and whether the broker runs",
        )


def broker_tls(config: AgentConfig) -> Check:
    """Each shows the other a certificate that it trusts."""
    if not config.broker.tls:
        return warn("broker-tls", "broker.tls is false", "use TLS beyond this machine")
    name = config.broker.server_name or config.broker.host
    try:
        context = ssl.create_default_context(cafile=str(config.identity / "ca.pem"))
        context.load_cert_chain(config.identity / "device.pem", config.identity / "device.key")
        with (
            socket.create_connection((config.broker.host, config.broker.port), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            # With TLS 1.3 a server refuses our certificate after its handshake: ask for a byte.
            secure.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                secure.recv(1)
            return ok("broker-tls", f"{secure.version()}, both certificates are trusted")
    except ssl.SSLCertVerificationError as error:
        return fail(
            "broker-tls",
            f"the broker's certificate: {error.verify_message}",
            "look at broker.host or broker.server_name, ca.pem, and the clock",
        )
    except ssl.SSLError as error:
        return fail("broker-tls", f"the broker refuses: {error.reason}", "was this device revoked?")
    except OSError as error:
        return fail("broker-tls", f"{error.strerror or error}", "see the check broker")


def registry(config: AgentConfig) -> Check:
    """It answers, and takes the token."""
    if config.registry is None:
        return warn("registry", "agent.toml names none", "modules cannot be fetched")
    token = _token(config.identity / "registry-token")
    try:
        status = get_status(config.registry.url.rstrip("/") + "/v2/", token, config.registry_ca)
    except (OSError, ValueError) as error:
        return fail(
            "registry",
            f"{config.registry.url}: {getattr(error, 'strerror', None) or error}",
            "look at the network, and whether inferry registry serve runs",
        )
    if status == 401:
        return fail(
            "registry",
            f"{config.registry.url} does not take this device's token",
            "enroll the device again: inferry edge enroll",
        )
    if status != 200:
        return fail("registry", f"{config.registry.url} answers HTTP {status}", "see its log")
    return ok("registry", f"{config.registry.url} answers")


def get_status(url: str, token: str | None, ca: Path | None) -> int:
    """The HTTP status of GET ``url``, with no library. Raises OSError, ValueError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    request = (
        f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n{authorization}"
        "Connection: close\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((host, port), TIMEOUT_S))
        if parts.scheme == "https":
            context = ssl.create_default_context()
            if ca is not None:
                context.load_verify_locations(ca)
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=host))
        connection.sendall(request.encode())
        answer = b""
        while b"\r\n" not in answer and len(answer) < MAX_ANSWER:
            data = connection.recv(4096)
            if not data:
                break
            answer += data
    words = answer.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("no HTTP answer")
    return int(words[1])


def _token(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        token = path.read_text().strip()
        return token if token.isascii() and token.isprintable() else None
    return None


PROBES: dict[str, Probe] = {
    "names": names,
    "broker": broker,
    "broker-tls": broker_tls,
    "registry": registry,
}
