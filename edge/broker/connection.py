"""One client's connection: bytes in, packets out, and an end with a reason."""

from __future__ import annotations

import asyncio
import logging
import ssl
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from edge.broker.exchange import Exchange
from edge.broker.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    decode,
    encode,
)
from edge.broker.session import Session
from edge.broker.wire import Frames, Property, ProtocolError, Reason, Value

log = logging.getLogger(__name__)
HIGH_WATER_BYTES = 256 * 1024
"""Of what a client has not read; above it nothing is read from it, nor sent to it."""
CLIENT_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, by its certificate: common name and serial number."""

    user: str | None = None
    serial: int | None = None


class Connection(asyncio.Protocol):
    """``identify``: who the other end is; it may raise ProtocolError."""

    def __init__(
        self,
        exchange: Exchange,
        connections: set[Connection],
        identify: Callable[[asyncio.Transport], Peer],
        clock: Callable[[], float],
    ) -> None:
        self.is_full = False
        self.peer = Peer()
        self._exchange = exchange
        self._connections = connections
        self._identify = identify
        self._clock = clock
        self._frames = Frames(exchange.limits.max_packet_bytes)
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._keepalive_s = 0
        self._heard_at = clock()

    def __repr__(self) -> str:
        session = self._session
        return f"Connection({'not yet' if session is None else session.client}, {self.peer.user})"

    # asyncio calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = found = cast(asyncio.Transport, transport)
        found.set_write_buffer_limits(HIGH_WATER_BYTES)
        self._heard_at = self._clock()
        try:
            self.peer = self._identify(found)
            if len(self._connections) >= self._exchange.limits.max_connections:
                raise ProtocolError("too many connections", Reason.BUSY)
        except ProtocolError as error:
            self._fail(error)
        except Exception:  # nobody is let in because we could not look
            log.exception("broker: unexpected")
            found.abort()
        else:
            self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._clock()
        try:
            for first, body in self._frames.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                self._take(decode(first, body))
        except ProtocolError as error:
            self._fail(error)
        except Exception:  # a mistake of ours ends this connection, and no other
            log.exception("broker: unexpected")
            self._close()

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        session, self._session = self._session, None
        self._transport = None
        if session is not None:
            self._exchange.detach(session, self, self._clock())

    def pause_writing(self) -> None:
        self.is_full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_full = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        if self._session is not None:
            self._session.flush(self._clock())

    # The exchange and the broker call these.

    def send(self, packet: Packet) -> None:
        """In order."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(packet))

    def end(self, reason: Reason) -> None:
        """Say why, and close."""
        self.send(
            Connack(False, reason if reason & 0x80 else Reason.BUSY)
            if self._session is None
            else Disconnect(reason)
        )
        self._close()

    def cut(self) -> None:
        """Without a word."""
        if self._transport is not None:
            self._transport.abort()

    def check(self, now: float) -> None:
        """End it if it has been silent for too long."""
        silent_s = now - self._heard_at
        if self._session is None:
            if silent_s > self._exchange.limits.connect_s:
                self.cut()
        elif self._keepalive_s and silent_s > 1.5 * self._keepalive_s:
            self.send(Disconnect(Reason.SILENT))
            self._cut_soon()

    def _fail(self, error: ProtocolError) -> None:
        log.info("broker: %r: %s", self, error)
        self.end(error.reason)

    def _close(self) -> None:
        """What was sent still goes out; a client that does not take it is cut by ``check``."""
        transport, session = self._transport, self._session
        if transport is None:
            return
        self._session = None
        if session is not None:
            self._exchange.detach(session, self, self._clock())
        if self.is_full:
            transport.abort()
        else:
            transport.close()

    def _cut_soon(self) -> None:
        self._close()
        if self._transport is not None:
            asyncio.get_running_loop().call_later(1.0, self.cut)

    def _take(self, packet: Packet) -> None:
        session, now = self._session, self._clock()
        if session is None:
            if not isinstance(packet, Connect):
                raise ProtocolError("the first packet is no CONNECT", Reason.PROTOCOL_ERROR)
            self._connect(packet, now)
            return
        match packet:
            case Publish():
                self._publish(session, packet, now)
            case Puback():
                session.acknowledge(packet.id, now)
            case Subscribe():
                self._subscribe(session, packet, now)
            case Unsubscribe():
                gone = [session.subscriptions.pop(name, None) for name in packet.filters]
                reasons = [
                    Reason.SUCCESS if one is not None else Reason.NO_SUBSCRIPTION for one in gone
                ]
                self.send(Unsuback(packet.id, tuple(reasons)))
            case Pingreq():
                self.send(Pingresp())
            case Disconnect():
                self._disconnect(session, packet)
            case _:
                raise ProtocolError("a packet that no client sends", Reason.PROTOCOL_ERROR)

    def _connect(self, packet: Connect, now: float) -> None:
        properties: dict[Property, Value] = {
            Property.MAX_QOS: 1,
            Property.MAX_PACKET: self._exchange.limits.max_packet_bytes,
            Property.SUBSCRIPTION_ID_AVAILABLE: 0,
            Property.SHARED_AVAILABLE: 0,
        }
        if Property.AUTH_METHOD in packet.properties:
            raise ProtocolError("no other authentication is known", Reason.NOT_AUTHORIZED)
        # Whoever has a certificate is what that says: nobody takes another's session.
        client = self.peer.user or packet.client
        if not client:
            client = f"auto-{uuid.uuid4().hex}"
        if client != packet.client:
            properties[Property.ASSIGNED_CLIENT] = client
        if len(client) > CLIENT_LENGTH:
            raise ProtocolError("a client id that is too long", Reason.QUOTA)
        session, is_present = self._exchange.attach(packet, client, self.peer.user, self, now)
        if session.expiry_s != packet.properties.get(Property.SESSION_EXPIRY, 0):
            properties[Property.SESSION_EXPIRY] = session.expiry_s
        self._session, self._keepalive_s = session, packet.keepalive_s
        self.send(Connack(is_present, properties=properties))
        session.resume(now)

    def _publish(self, session: Session, packet: Publish, now: float) -> None:
        if Property.ALIAS in packet.properties:
            raise ProtocolError("no alias was allowed", Reason.BAD_ALIAS)
        if Property.SUBSCRIPTION_ID in packet.properties:
            raise ProtocolError("PUBLISH with an identifier", Reason.PROTOCOL_ERROR)
        if packet.qos > 1:
            raise ProtocolError("QoS 2", Reason.NO_SUCH_QOS)
        is_allowed = self._exchange.publish(session, packet, now)
        if packet.qos:
            self.send(Puback(packet.id, Reason.SUCCESS if is_allowed else Reason.NOT_AUTHORIZED))

    def _subscribe(self, session: Session, packet: Subscribe, now: float) -> None:
        if Property.SUBSCRIPTION_ID in packet.properties:
            raise ProtocolError("identifiers of subscriptions", Reason.NO_IDENTIFIERS)
        # A packet has room for 200,000 times "#": only so many are looked at, and retained messages
        # are sent once for each filter.
        most = self._exchange.limits.max_subscriptions
        reasons: list[int] = []
        granted: dict[str, tuple[Subscription, bool]] = {}
        for one in packet.subscriptions[:most]:
            is_new = one.filter not in session.subscriptions
            reasons.append(self._exchange.subscribe(session, one, now))
            if reasons[-1] < 0x80:
                was_new = granted[one.filter][1] if one.filter in granted else is_new
                granted[one.filter] = (one, was_new)
        reasons += [Reason.QUOTA] * (len(packet.subscriptions) - len(reasons))
        self.send(Suback(packet.id, tuple(reasons)))
        for one, is_new in granted.values():
            self._exchange.send_retained(session, one, is_new, now)

    def _disconnect(self, session: Session, packet: Disconnect) -> None:
        expiry_s = packet.properties.get(Property.SESSION_EXPIRY)
        if isinstance(expiry_s, int):
            if expiry_s and not session.expiry_s:
                raise ProtocolError("an expiry after none", Reason.PROTOCOL_ERROR)
            self._exchange.set_expiry(session, expiry_s)
        if packet.reason != Reason.WITH_WILL:
            session.will = None
        self._close()


def peer_of(transport: asyncio.Transport) -> Peer:
    """Raises ProtocolError for a certificate that names nobody."""
    found: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if found is None:
        return Peer()
    certificate = found.getpeercert() or {}
    serial = int(str(certificate.get("serialNumber", "0")), 16)
    for part in cast(tuple[tuple[tuple[str, str], ...], ...], certificate.get("subject", ())):
        for name, value in part:
            if name == "commonName" and value:
                return Peer(value, serial)
    raise ProtocolError("a certificate without a name", Reason.NOT_AUTHORIZED)
