"""The process: bind, serve, drain.

It runs on asyncio's own loop: uvloop has no sendfile, which is what a pull's throughput comes from.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator

import uvicorn

from registry.distribution import Distribution
from registry.errors import RegistryError
from runtime.errors import BadValueError
from runtime.registry_service.app import RegistryApp
from runtime.registry_service.config import ServiceConfig, check_exposure
from runtime.registry_service.protocol import RegistryProtocol

EXPIRY_S = 300.0
_log = logging.getLogger(__name__)


def serve(distribution: Distribution, config: ServiceConfig, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. Raises BadValueError when it
    must not or cannot listen there."""
    check_exposure(config, has_tokens=distribution.tokens.are_needed())
    app = RegistryApp(distribution, config, _print if config.has_access_log else None)
    server = _Server(_uvicorn_config(app, config))
    with _listening(config) as listener:
        for line in _greeting(distribution, config, listener.getsockname()[1]):
            say(line)
        asyncio.run(_run(server, listener, distribution))


class _Server(uvicorn.Server):
    """Leaves with code 0 on a signal: it was asked to."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises the signal again afterwards; this does not."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _uvicorn_config(app: RegistryApp, config: ServiceConfig) -> uvicorn.Config:
    found = uvicorn.Config(
        app,
        loop="asyncio",
        http=RegistryProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=config.max_connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=config.drain_s,
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
    )
    try:
        found.load()
    except (OSError, ssl.SSLError) as error:
        raise BadValueError(f"the certificate or its key cannot be used: {error}") from error
    if found.ssl is not None:
        found.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return found


async def _run(server: uvicorn.Server, listener: socket.socket, distribution: Distribution) -> None:
    expiry = asyncio.create_task(_expire(distribution))
    try:
        await server.serve(sockets=[listener])
    finally:
        expiry.cancel()


async def _expire(distribution: Distribution) -> None:
    while True:
        try:
            await asyncio.to_thread(distribution.uploads.expire)
        except RegistryError as error:
            _log.warning("cannot remove expired uploads: %s", error)
        await asyncio.sleep(EXPIRY_S)


def _listening(config: ServiceConfig) -> socket.socket:
    host = config.host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise BadValueError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror or error}"
        ) from error


def _greeting(distribution: Distribution, config: ServiceConfig, port: int) -> Iterator[str]:
    host = f"[{config.host}]" if ":" in config.host.strip("[]") else config.host
    if not distribution.tokens.are_needed():
        yield "no tokens: everyone on this machine may read and write"
    yield f"inferry registry is ready at {'https' if config.is_tls else 'http'}://{host}:{port}"


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # whoever read it has gone
        print(line, file=sys.stdout, flush=True)
