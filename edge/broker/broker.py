"""The embedded broker: a thread with one loop.

    with Broker(BrokerConfig(port=0), rules=DeviceRules()) as broker:
        connect_to(broker.port)

MQTT 5 only; QoS 0 and 1, retained messages, wills with delay, sessions and messages that expire.
Everything is in memory: after an end it begins anew, which is what devices and hub must stand
anyway. For more than a laptop, use mosquitto (docs/decisions/0007).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.broker.connection import Connection, Peer, peer_of
from edge.broker.exchange import Exchange
from edge.broker.rules import OpenRules, Rules
from edge.broker.session import Limits
from edge.broker.wire import ProtocolError, Reason
from edge.errors import ConfigError, LinkError

log = logging.getLogger(__name__)
TICK_S = 0.2
START_S = 10.0


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """Clients must show a certificate that ``ca`` signed; its common name is the user, and the
    client id. ``is_revoked``: asked with its serial number, again and again."""

    ca: Path
    certificate: Path
    key: Path
    is_revoked: Callable[[int], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """``port`` 0: any free one. ``tls`` None: everybody is let in, under any name."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: BrokerTls | None = None
    limits: Limits = field(default_factory=Limits)


class Broker:
    """One broker; ``start`` and ``stop`` once each."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.port = 0
        self._clock = clock
        self._exchange = Exchange(rules or OpenRules(), config.limits)
        self._connections: set[Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)
        self._stopping = asyncio.Event()
        self._started = threading.Event()
        self._error: Exception | None = None

    def __repr__(self) -> str:
        return (
            f"Broker({self.config.host}:{self.port}, {len(self._connections)} connections,"
            f" {len(self._exchange.sessions)} sessions)"
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen. Raises LinkError when the port cannot be had, ConfigError for certificates."""
        self._thread.start()
        self._started.wait(START_S)
        if self._error is not None:
            self._thread.join(START_S)
            raise self._error

    def stop(self) -> None:
        """Tell every client, and end. Idempotent."""
        if self._thread.is_alive() and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has just ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(START_S)

    def _run(self) -> None:
        self._loop = loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._serve(loop))
        finally:
            self._started.set()
            loop.close()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        config = self.config
        try:
            context = None if config.tls is None else server_context(config.tls)
            server = await loop.create_server(
                self._connection,
                config.host,
                config.port,
                ssl=context,
                ssl_handshake_timeout=None if context is None else config.limits.connect_s,
                ssl_shutdown_timeout=None if context is None else 1.0,
            )
        except ConfigError as error:
            self._error = error
            return
        except (ValueError, OverflowError) as error:
            self._error = LinkError(
                f"the broker cannot listen on {config.host}:{config.port}: {error}"
            )
            return
        except OSError as error:
            self._error = LinkError(
                f"the broker cannot listen on {config.host}:{config.port}:"
                f" {error.strerror or error}; is another one running?"
            )
            return
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        try:
            await self._watch()
        finally:
            server.close()
            await self._end_all(loop)

    def _connection(self) -> Connection:
        return Connection(self._exchange, self._connections, self._identify, self._clock)

    def _identify(self, transport: asyncio.Transport) -> Peer:
        peer = peer_of(transport)
        if self._is_revoked(peer):
            raise ProtocolError("its certificate is revoked", Reason.NOT_AUTHORIZED)
        return peer

    def _is_revoked(self, peer: Peer) -> bool:
        tls = self.config.tls
        return tls is not None and peer.serial is not None and tls.is_revoked(peer.serial)

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look(self._clock())
            except Exception:  # one mistake does not end it for everybody
                log.exception("broker: unexpected")
            try:
                await asyncio.wait_for(self._stopping.wait(), TICK_S)
            except TimeoutError:
                continue

    def _look(self, now: float) -> None:
        self._exchange.tick(now)
        for connection in list(self._connections):
            connection.check(now)
            if self._is_revoked(connection.peer):
                connection.end(Reason.NOT_AUTHORIZED)

    async def _end_all(self, loop: asyncio.AbstractEventLoop) -> None:
        for connection in list(self._connections):
            connection.end(Reason.SHUTTING_DOWN)
        for _ in range(10):  # for who closes in good order
            if not self._connections:
                break
            await asyncio.sleep(0.02)
        # Also those within a handshake, which asyncio shows to nobody.
        left = getattr(loop, "_transports", {})
        for transport in list(left.values()):
            transport.abort()
        await asyncio.sleep(0.01)


def server_context(tls: BrokerTls) -> ssl.SSLContext:
    """Raises ConfigError for files that cannot be read or are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(tls.ca)
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        words = error.strerror or str(error)
        raise ConfigError(f"the broker's certificate or key: {words}") from error
    return context
