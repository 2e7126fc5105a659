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
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from registry.errors import RegistryError
from runtime.errors import BadValueError
from runtime.registry_service.config import ServiceConfig, check_exposure
from runtime.registry_service.protocol import RegistryProtocol

REPEAT_S = 300.0
_log = logging.getLogger(__name__)


def serve(
    app: ASGIApp,
    config: ServiceConfig,
    say: Callable[[str], None],
    *,
    has_tokens: bool,
    work: Sequence[Callable[[], Any]] = (),
    closing: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is under way. ``work`` is done beside it, now
    and then; ``closing`` is called once the end is asked for. Raises BadValueError when it must not
    or cannot listen there."""
    check_exposure(config, has_tokens=has_tokens)
    server = _Server(_uvicorn_config(app, config), closing)
    with _listening(config) as listener:
        for line in _greeting(config, listener.getsockname()[1], has_tokens=has_tokens):
            say(line)
        asyncio.run(_run(server, listener, work))


class _Server(uvicorn.Server):
    """Leaves with code 0 on a signal: it was asked to."""

    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Whoever streams is told first."""
        self._closing()
        super().handle_exit(sig, frame)

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


def _uvicorn_config(app: ASGIApp, config: ServiceConfig) -> uvicorn.Config:
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


async def _run(
    server: uvicorn.Server, listener: socket.socket, work: Sequence[Callable[[], Any]]
) -> None:
    tasks = [asyncio.create_task(_repeat(each)) for each in work]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()


async def _repeat(work: Callable[[], Any]) -> None:
    """``work`` says after how many seconds it is to be done again; None is REPEAT_S."""
    while True:
        pause_s = None
        try:
            pause_s = await asyncio.to_thread(work)
        except RegistryError as error:
            _log.warning("what is done beside the service failed: %s", error)
        except Exception:
            _log.exception("what is done beside the service failed")
        await asyncio.sleep(REPEAT_S if pause_s is None else pause_s)


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


def _greeting(config: ServiceConfig, port: int, *, has_tokens: bool) -> Iterator[str]:
    host = f"[{config.host}]" if ":" in config.host.strip("[]") else config.host
    if not has_tokens:
        yield "no tokens: everyone on this machine may read and write"
    yield f"inferry registry is ready at {'https' if config.is_tls else 'http'}://{host}:{port}"
