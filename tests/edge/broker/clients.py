"""A client of MQTT 5 for tests: paho's, with queues in place of callbacks; and one of raw bytes."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.broker import BrokerTls, packets
from edge.broker.packets import Packet
from edge.broker.wire import Frames
from edge.enrolment import Authority, write_files
from edge.enrolment.files import SECRET, File

WAIT_S = 45.0
QUIET_S = 0.2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a broker is. ``context``: how clients of raw bytes speak TLS to it."""

    port: int
    host: str = "127.0.0.1"
    context: ssl.SSLContext | None = None


def properties(packet: int, **values: Any) -> Properties:
    """paho's, by name."""
    found = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(found, name, value)
    return found


class Client:
    """Connected once it is made, if ``reason`` says so."""

    def __init__(
        self,
        place: Place,
        name: str,
        *,
        is_clean: bool = True,
        session_s: int = 0,
        will: tuple[str, bytes, int] | None = None,
        will_delay_s: int = 0,
        keepalive_s: int = 60,
        **connect: Any,
    ) -> None:
        self.heard: queue.SimpleQueue[paho.MQTTMessage] = queue.SimpleQueue()
        self.reason: ReasonCode | None = None
        self.had_session = False
        self.answers: Properties | None = None
        self.end: ReasonCode | None = None
        self._connected, self._ended = threading.Event(), threading.Event()
        self._published: dict[int, ReasonCode] = {}
        self._subscribed: queue.SimpleQueue[Sequence[ReasonCode]] = queue.SimpleQueue()
        self._acknowledged = threading.Condition()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            name,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message
        client.on_subscribe = self._on_subscribe
        if will is not None:
            client.will_set(
                will[0],
                will[1],
                will[2],
                True,
                properties(PacketTypes.WILLMESSAGE, WillDelayInterval=will_delay_s),
            )
        client.connect(
            place.host,
            place.port,
            keepalive_s,
            clean_start=is_clean,
            properties=properties(PacketTypes.CONNECT, SessionExpiryInterval=session_s, **connect),
        )
        client.loop_start()
        assert self._connected.wait(WAIT_S)

    def subscribe(self, *filters: str, qos: int = 1, **options: Any) -> list[int]:
        """The reasons, as numbers."""
        wanted = [(each, SubscribeOptions(qos=qos, **options)) for each in filters]
        self._client.subscribe(wanted)
        return [one.value for one in self._subscribed.get(timeout=WAIT_S)]

    def unsubscribe(self, name: str) -> None:
        """Returns once it is so."""
        done = threading.Event()
        self._client.on_unsubscribe = lambda *_: done.set()
        self._client.unsubscribe(name)
        assert done.wait(WAIT_S)

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, is_retained: bool = False, **values: Any
    ) -> int:
        """The reason of the broker's answer, at QoS 1."""
        info = self._client.publish(
            topic, payload, qos, is_retained, properties(PacketTypes.PUBLISH, **values)
        )
        if qos == 0:
            return 0
        with self._acknowledged:
            assert self._acknowledged.wait_for(lambda: info.mid in self._published, WAIT_S)
            return int(self._published[info.mid].value)

    def next(self) -> paho.MQTTMessage:
        """What arrives."""
        return self.heard.get(timeout=WAIT_S)

    def texts(self, count: int) -> list[str]:
        """Payloads of what arrives."""
        return [bytes(self.next().payload).decode() for _ in range(count)]

    def is_quiet(self) -> bool:
        """Whether nothing comes any more: what came before is taken, and a message of its own,
        which cannot overtake others, is the next."""
        name = f"quiet/{id(self)}"
        self.subscribe(name, qos=1)
        self.publish(name, b"?")
        found = self.next()
        return found.topic == name

    def wait_for_end(self) -> int:
        """The reason of the broker's DISCONNECT."""
        assert self._ended.wait(WAIT_S)
        assert self.end is not None
        return int(self.end.value)

    def leave(self) -> None:
        """In good order."""
        self._client.disconnect()
        self._client.loop_stop()
        self._close()

    def die(self) -> None:
        """Without a word."""
        found = self._client.socket()
        if found is not None:
            assert isinstance(found, socket.socket)
            found.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()
        self._close()

    def _close(self) -> None:
        found = self._client.socket()
        if found is not None:
            found.close()

    def _on_connect(
        self, _c: Any, _u: Any, flags: paho.ConnectFlags, reason: ReasonCode, answers: Any
    ) -> None:
        self.reason, self.had_session, self.answers = reason, flags.session_present, answers
        self._connected.set()

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Any) -> None:
        self.end = reason
        self._connected.set()
        self._ended.set()

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: ReasonCode, _p: Any) -> None:
        with self._acknowledged:
            self._published[mid] = reason
            self._acknowledged.notify()

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self.heard.put(message)

    def _on_subscribe(
        self, _c: Any, _u: Any, _mid: Any, reasons: Sequence[ReasonCode], _p: Any
    ) -> None:
        self._subscribed.put(reasons)


class Raw:
    """Bytes and packets over a socket."""

    def __init__(self, place: Place) -> None:
        plain = socket.create_connection((place.host, place.port), timeout=WAIT_S)
        try:
            context = place.context
            self.socket = plain if context is None else _wrapped(context, plain, place.host)
        except BaseException:
            plain.close()
            raise
        self._frames = Frames(1 << 24)
        self._packets: list[Packet] = []

    def send(self, *sent: Packet | bytes) -> None:
        """All of it."""
        for one in sent:
            self.socket.sendall(one if isinstance(one, bytes) else packets.encode(one))

    def next(self) -> Packet | None:
        """None: the broker has closed."""
        while not self._packets:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                return None
            if not data:
                return None
            self._packets += [packets.decode(*frame) for frame in self._frames.feed(data)]
        return self._packets.pop(0)

    def rest(self) -> list[Packet]:
        """All until the broker closes."""
        found = []
        while (packet := self.next()) is not None:
            found.append(packet)
        return found


@contextmanager
def raw(place: Place, *sent: Packet | bytes) -> Iterator[Raw]:
    """One that has sent these."""
    found = Raw(place)
    try:
        found.send(*sent)
        yield found
    finally:
        found.socket.close()


def _wrapped(context: ssl.SSLContext, plain: socket.socket, host: str) -> ssl.SSLSocket:
    return context.wrap_socket(plain, server_hostname=host)


def tls_of(authority: Authority, folder: Path) -> BrokerTls:
    """Of a broker of this authority; its files are in ``folder``."""
    identity = authority.issue_broker(["127.0.0.1", "localhost"])
    write_files(
        folder,
        {
            "ca.pem": File(authority.pem),
            "pem": File(identity.certificate),
            "key": File(identity.key, SECRET),
        },
    )
    revoked = authority.folder / "revoked"
    return BrokerTls(
        folder / "ca.pem",
        folder / "pem",
        folder / "key",
        is_revoked=lambda serial: (revoked / f"{serial:x}").exists(),
    )
