"""One connection to a broker: the only module that names paho.

Each has a paho client of its own. What paho still held when the connection was lost is dropped:
whoever sent it sends it again, as nothing but the other side's word counts as delivered, and paho
would send it twice (its pull request 698).
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.link.port import Message, OnConnected, OnMessage
from edge.link.settings import LinkConfig, tls_context
from edge.link.sockets import IsOver, connect, negotiate

log = logging.getLogger(__name__)
ANSWER_S = 20.0
"""For each of TCP, TLS, and the broker's answers to CONNECT and SUBSCRIBE."""
LAST_S = 2.0
"""For the last message to be acknowledged, and for a good end."""
MAX_EXPIRY_S = (1 << 32) - 1
HEADERS_BYTES = 4096
"""Of a packet, at most so much is kept for what is beside the payload."""
SOON_S = 0.2
"""For what is said at an end to go out, when nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Use:
    """What the owner of a link gave."""

    subscriptions: tuple[str, ...]
    on_message: OnMessage
    on_connected: OnConnected
    will: Message | None


class _Client(paho.Client):
    """paho's, with the name that the certificate must have, for which it has no parameter; with
    attempts that end when the link does; and with an end that is noticed, however its thread comes
    to it."""

    server_name: str | None = None
    max_receive_bytes = 1 << 20
    is_over: IsOver = staticmethod(lambda: False)
    on_thread_end: Callable[[], None] = staticmethod(lambda: None)

    def release(self) -> None:
        """Close its socket, and the pair by which its thread is woken: paho leaves that to the
        garbage collector."""
        self._reset_sockets()

    def limit_in_flight(self, most: int) -> None:
        """Before anything is published. paho's own setter wants to know it before the broker said
        how many it takes."""
        self._max_inflight_messages = most

    def _sock_recv(self, bufsize: int) -> bytes:
        """paho asks for all that is left of a packet, which may say that it has 256 MiB."""
        if bufsize > self.max_receive_bytes:
            raise OSError(f"it sends a packet of {bufsize} bytes, more than we take")
        return super()._sock_recv(bufsize)

    def _create_socket_connection(self) -> socket.socket:
        return connect(self._host, self._port, ANSWER_S, self.is_over)

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        assert self._ssl_context is not None
        name = self.server_name or self._host
        return negotiate(self._ssl_context, tcp_sock, name, ANSWER_S, self.is_over)

    def _thread_main(self) -> None:
        try:
            super()._thread_main()
        except Exception as error:  # of paho: what the broker sent is no MQTT
            log.error("link: the broker was not understood: %s", words_of(error))
        finally:
            self.on_thread_end()


class Connection:
    """One connection. Its callbacks run in paho's thread."""

    def __init__(self, config: LinkConfig, use: Use, is_clock_right: bool) -> None:
        self.is_ready = threading.Event()
        self._config = config
        self._use = use
        self._ended = threading.Event()
        self._is_quiet = threading.Event()
        self._is_quiet.set()
        self._error: str | None = None
        self._is_refused = False
        self._is_answered = False
        self._network_error: str | None = None
        self._max_packet_bytes = config.max_packet_bytes
        self._refusal = ""
        self._client = client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=config.client,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = ANSWER_S
        client.max_receive_bytes = config.max_packet_bytes
        client.max_inflight_messages_set(config.max_in_flight)
        client.max_queued_messages_set(config.max_queued)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_log = self._on_log
        client.on_thread_end = self._on_thread_end
        if config.tls is not None:
            client.server_name = config.tls.server_name
            client.tls_set_context(tls_context(config.tls, is_clock_right))
        if use.will is not None:
            client.will_set(
                use.will.topic,
                use.will.payload,
                qos=1,
                retain=use.will.is_retained,
                properties=_will_properties(use.will, config.will_delay_s),
            )

    def run(self, stopped: threading.Event) -> tuple[str, bool, bool]:
        """Connect, and return once it has ended."""
        config = self._config
        self._client.is_over = stopped.is_set
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = config.session_s
        properties.MaximumPacketSize = config.max_packet_bytes
        try:
            self._client.connect(
                config.host,
                config.port,
                keepalive=config.keepalive_s,
                clean_start=False,
                properties=properties,
            )
        except ssl.SSLCertVerificationError as error:
            return f"its certificate: {error.verify_message}", False, True
        except (OSError, ValueError) as error:
            return words_of(error), False, False
        self._is_quiet.clear()
        self._client.loop_start()
        if self._wait(stopped, self.is_ready, 2 * ANSWER_S):
            self._ended.wait()
        elif not self._ended.is_set() and not stopped.is_set():
            self._error = "it does not answer"
        return self._error or "the connection was lost", self.is_ready.is_set(), self._is_refused

    def publish(self, message: Message) -> int | None:
        """The message's id, None when it was not taken."""
        if not self.is_ready.is_set() or self._ended.is_set():
            return None
        try:
            check(message, self._max_packet_bytes)
            info = self._client.publish(
                message.topic,
                message.payload,
                qos=1,
                retain=message.is_retained,
                properties=_properties(PacketTypes.PUBLISH, message),
            )
        except (ValueError, OSError, struct.error) as error:
            # The topic may be what is wrong: no text that a log could hold.
            self._say_refused(f"a message for {ascii(message.topic)[:80]}: {words_of(error)}")
            return None
        return info.mid if info.rc == paho.MQTT_ERR_SUCCESS else None

    def _say_refused(self, what: str) -> None:
        """Once in a row: its sender tries again, and again."""
        if what != self._refusal:
            self._refusal = what
            log.error("link: refused %s", what)

    def leave(self, last: Message | None) -> None:
        """In good order: the broker sends no will. Takes LAST_S at most, if it is silent."""
        deadline = time.monotonic() + LAST_S
        if last is not None:
            self._say_last(last)
        # A connection that ended meanwhile is closed by the link's own thread.
        with contextlib.suppress(OSError):
            self._client.disconnect()
        self._ended.wait(max(SOON_S, deadline - time.monotonic()))
        self._ended.set()

    def _say_last(self, last: Message) -> None:
        """And wait until it has arrived: its acknowledgement may be here before its number."""
        acknowledged: set[int] = set()
        news = threading.Event()

        def on_publish(*arguments: Any) -> None:
            acknowledged.add(arguments[2])
            news.set()

        self._client.on_publish = on_publish
        number = self.publish(last)
        deadline = time.monotonic() + LAST_S
        while number is not None and number not in acknowledged:
            if not self._wait(self._ended, news, deadline - time.monotonic()):
                return
            news.clear()

    def close(self) -> None:
        """Its thread and its socket."""
        self._ended.set()
        self.is_ready.clear()
        self._client.on_disconnect = None
        self._client.disconnect()
        found = self._client.socket()
        if not self._is_quiet.wait(SOON_S) and isinstance(found, socket.socket):
            # paho's thread ends only once all is sent, or the keepalive is over; not by TLS's own
            # shutdown, which is for the thread that reads.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(found, socket.SHUT_RDWR)
        self._client.loop_stop()
        self._client.release()

    def _wait(self, stopped: threading.Event, event: threading.Event, timeout_s: float) -> bool:
        """Whether ``event`` came before an end and the timeout."""
        deadline = time.monotonic() + timeout_s
        while not event.wait(0.05):
            if self._ended.is_set() or stopped.is_set() or time.monotonic() > deadline:
                return event.is_set()
        return True

    def _on_connect(self, _c: Any, _u: Any, _flags: Any, reason: ReasonCode, limits: Any) -> None:
        self._is_answered = True
        # paho does not look at these; a broker ends the connection of who sends more.
        most = min(self._config.max_in_flight, getattr(limits, "ReceiveMaximum", 0xFFFF))
        self._client.limit_in_flight(max(1, most))
        self._max_packet_bytes = min(
            self._max_packet_bytes, getattr(limits, "MaximumPacketSize", self._max_packet_bytes)
        )
        if reason.is_failure:
            self._end(f"it refuses us: {reason}", is_refused=True)
        elif self._use.subscriptions:
            self._client.subscribe(
                [(each, SubscribeOptions(qos=1)) for each in self._use.subscriptions]
            )
        else:
            self._begin()

    def _on_subscribe(
        self, _c: Any, _u: Any, _mid: Any, reasons: Sequence[ReasonCode], _p: Any
    ) -> None:
        refused = [
            f"{topic}: {reason}"
            for topic, reason in zip(self._use.subscriptions, reasons, strict=False)
            if reason.is_failure
        ]
        if refused:
            self._end(f"it refuses a subscription: {refused[0]}", is_refused=True)
        else:
            self._begin()

    def _begin(self) -> None:
        log.info("link: connected to the broker %s:%d", self._config.host, self._config.port)
        self.is_ready.set()
        try:
            self._use.on_connected()
        except Exception:
            log.exception("link: on_connected must not raise")

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        try:
            self._use.on_message(
                Message(
                    message.topic,
                    bytes(message.payload),
                    message.retain,
                    None,
                    dict(getattr(message.properties, "UserProperty", ()) or ()),
                )
            )
        except Exception:  # also of a topic that is no text
            log.exception("link: a message could not be taken")

    def _on_disconnect(self, _c: Any, _u: Any, _flags: Any, reason: ReasonCode, _p: Any) -> None:
        # 0x8E: another client with our name took over; both would do so for ever. mosquitto 2.0.11
        # closes without a word; then it is the short connections that make the waits grow.
        network = self._network_error
        is_alert = network is not None and " alert " in network
        error = f"the connection was lost: {network or reason}"
        if reason.value == 0x80 and network is None:
            error = "it closed the connection; it ends, or another client has our name"
        if not self._is_answered:
            error = "it ended the connection without an answer; is our certificate good?"
            error += f" {network}" if network else ""
        self._end(error, is_refused=reason.value == 0x8E or is_alert)

    def _on_log(self, _c: Any, _u: Any, level: int, text: str) -> None:
        """paho tells nobody else what the socket said."""
        if level == paho.MQTT_LOG_ERR and "socket" in text:
            words = text.rpartition("socket: ")[2]
            self._network_error = re.sub(r"^\[Errno \d+\] ", "", " ".join(words.split()))

    def _on_thread_end(self) -> None:
        self._ended.set()
        self._is_quiet.set()

    def _end(self, error: str, *, is_refused: bool = False) -> None:
        if self._error is None:
            self._error, self._is_refused = error, is_refused
        self._ended.set()


def check(message: Message, max_packet_bytes: int) -> None:
    """What paho sends and a broker ends the connection for, again and again. Raises ValueError."""
    if not message.topic or "\0" in message.topic:
        raise ValueError("this is no topic")
    if any("\0" in text for pair in message.properties.items() for text in pair):
        raise ValueError("a property has a character that MQTT forbids")
    if len(message.payload) > max_packet_bytes - HEADERS_BYTES:
        raise ValueError(f"{len(message.payload)} bytes are more than a broker takes")


def _properties(packet: int, message: Message) -> Properties:
    found = Properties(packet)  # type: ignore[no-untyped-call]
    if message.expiry_s is not None:
        found.MessageExpiryInterval = min(max(1, message.expiry_s), MAX_EXPIRY_S)
    if message.properties:
        found.UserProperty = list(message.properties.items())
    return found


def _will_properties(message: Message, delay_s: int) -> Properties:
    found = _properties(PacketTypes.WILLMESSAGE, message)
    found.WillDelayInterval = delay_s
    return found


def words_of(error: BaseException) -> str:
    """One line, without paths."""
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())
