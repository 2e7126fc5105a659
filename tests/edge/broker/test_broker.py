"""What is the embedded broker's own: limits, certificates, an end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge.broker import Broker, BrokerConfig, BrokerTls, Limits
from edge.broker.packets import (
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Publish,
    Suback,
    Subscribe,
    Subscription,
)
from edge.broker.wire import Property, Reason
from edge.enrolment import Authority
from edge.errors import ConfigError, LinkError
from tests.edge.broker.clients import Client, Place, Raw, raw, tls_of

EXPIRY = {Property.SESSION_EXPIRY: 100}


@contextmanager
def limited(limits: Limits) -> Iterator[Place]:
    """A broker with these."""
    with Broker(BrokerConfig(limits=limits)) as broker:
        yield Place(broker.port)


def connected(place: Place, name: str) -> Raw:
    """A client of raw bytes, accepted."""
    found = Raw(place)
    found.send(Connect(name, properties=EXPIRY))
    assert isinstance(found.next(), Connack)
    return found


def reason_of(packet: object) -> int:
    assert isinstance(packet, Connack | Disconnect | Puback)
    return packet.reason


def test_who_is_taken_over_is_told_so() -> None:
    with limited(Limits()) as place:
        first, second = connected(place, "a"), connected(place, "a")
        assert reason_of(first.next()) == Reason.TAKEN_OVER
        assert first.next() is None
        first.socket.close()
        second.socket.close()


def test_every_client_is_told_of_the_end() -> None:
    with limited(Limits()) as place:
        client = connected(place, "a")
    assert reason_of(client.next()) == Reason.SHUTTING_DOWN
    client.socket.close()


def test_who_says_nothing_is_cut() -> None:
    with limited(Limits(connect_s=0.1)) as place, raw(place) as silent:
        assert silent.next() is None


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Publish("t", bytes(2000)), Reason.TOO_LARGE),
        (Publish("t", b"", 2, id=1), Reason.NO_SUCH_QOS),
        (Publish("t/#", b""), Reason.BAD_TOPIC),
        (Publish("", b"", properties={Property.ALIAS: 1}), Reason.BAD_ALIAS),
        (Connect("again"), Reason.PROTOCOL_ERROR),
        (Pingresp(), Reason.PROTOCOL_ERROR),
        (b"\xf0\x00", Reason.PROTOCOL_ERROR),
        (b"\x62\x02\x00\x01", Reason.PROTOCOL_ERROR),
    ],
)
def test_what_is_not_allowed_ends_with_its_reason(packet: object, reason: Reason) -> None:
    assert isinstance(packet, bytes | Publish | Connect | Pingresp)
    with limited(Limits(max_packet_bytes=1000)) as place:
        client = connected(place, "a")
        client.send(packet)
        assert reason_of(client.next()) == reason
        assert client.next() is None
        client.socket.close()


def test_an_older_mqtt_is_refused_with_a_reason() -> None:
    with limited(Limits()) as place:
        old = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"
        with raw(place, old) as client:
            assert reason_of(client.next()) == Reason.UNSUPPORTED_VERSION


@pytest.mark.parametrize("filter", ["$share/g/t", "a/#/b", "$SYS/#"])
def test_filters_that_are_not_served_are_refused_one_by_one(filter: str) -> None:
    with limited(Limits()) as place:
        client = connected(place, "a")
        client.send(Subscribe(1, (Subscription(filter, 1), Subscription("t", 2))))
        answer = client.next()
        assert isinstance(answer, Suback)
        assert answer.reasons[0] >= 0x80
        assert answer.reasons[1] == 1
        client.socket.close()


def test_there_is_a_limit_to_everything() -> None:
    limits = Limits(max_connections=2, max_subscriptions=1, max_retained=1)
    with limited(limits) as place:
        a, b = connected(place, "a"), connected(place, "b")
        with raw(place, Connect("c")) as third:
            assert reason_of(third.next()) == Reason.BUSY
        a.send(Subscribe(1, (Subscription("x"), Subscription("y"))))
        answer = a.next()
        assert isinstance(answer, Suback)
        assert answer.reasons == (0, Reason.QUOTA)
        a.send(Publish("r/1", b"1", is_retained=True), Publish("r/2", b"2", is_retained=True))
        a.send(Pingreq())
        assert a.next() == Pingresp()
        b.send(Subscribe(1, (Subscription("r/+"),)), Pingreq())
        heard = [b.next() for _ in range(3)]
        assert [one.topic for one in heard if isinstance(one, Publish)] == ["r/1"]
        a.socket.close()
        b.socket.close()


def test_sessions_of_the_gone_are_bounded_and_so_is_what_waits_in_them() -> None:
    with limited(Limits(max_sessions=2, max_queued=3)) as place:
        gone, here = connected(place, "gone"), connected(place, "here")
        gone.send(Subscribe(1, (Subscription("t", 1),)))
        assert isinstance(gone.next(), Suback)
        gone.send(Disconnect())
        assert gone.next() is None
        gone.socket.close()
        with raw(place, Connect("one too many")) as third:
            assert reason_of(third.next()) == Reason.QUOTA
        for number in range(1, 6):
            here.send(Publish("t", str(number).encode(), 1, id=number))
            assert isinstance(here.next(), Puback)
        again = Raw(place)
        again.send(Connect("gone", False, properties=EXPIRY), Pingreq())
        heard = [again.next() for _ in range(5)]
        assert [one.payload for one in heard if isinstance(one, Publish)] == [b"1", b"2", b"3"]
        again.socket.close()
        here.socket.close()


def test_a_client_that_does_not_read_holds_up_nobody() -> None:
    with limited(Limits(max_queued=10)) as place:
        deaf, fast, sender = connected(place, "deaf"), Client(place, "fast"), connected(place, "s")
        deaf.send(Subscribe(1, (Subscription("t", 0),)))
        assert isinstance(deaf.next(), Suback)
        fast.subscribe("t")
        large = bytes(500_000)
        for number in range(1, 60):
            sender.send(Publish("t", large, 1, id=number))
            assert isinstance(sender.next(), Puback)
            assert len(fast.next().payload) == len(large)
        fast.leave()
        deaf.socket.close()
        sender.socket.close()


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"cannot listen on 127.0.0.1:{port}"):
            Broker(BrokerConfig(port=port)).start()


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("a" * 80 + ".example", 0)])
def test_an_address_that_cannot_be_is_one_clear_line(host: str, port: int) -> None:
    broker = Broker(BrokerConfig(host, port))
    with pytest.raises(LinkError, match="cannot listen on"):
        broker.start()
    broker.stop()


def test_an_end_may_be_said_twice_and_without_a_start() -> None:
    Broker(BrokerConfig()).stop()
    with Broker(BrokerConfig()) as broker:
        broker.stop()


def test_a_list_of_the_revoked_that_cannot_be_read_ends_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def is_revoked(serial: int) -> bool:
        looks.append(serial)
        if 1 < len(looks) < 4:
            raise PermissionError("the list")
        return len(looks) >= 4

    authority = Authority.load_or_create(tmp_path / "ca")
    tls = replace(tls_of(authority, tmp_path / "broker"), is_revoked=is_revoked)
    identity = authority.issue_device("press-1")
    (tmp_path / "pem").write_bytes(identity.certificate + identity.key)
    context = ssl.create_default_context(cafile=tls.ca)
    context.load_cert_chain(tmp_path / "pem")
    with Broker(BrokerConfig(tls=tls)) as broker:
        client = connected(Place(broker.port, context=context), "press-1")
        assert reason_of(client.next()) == Reason.NOT_AUTHORIZED  # at the fourth look
        client.socket.close()
    assert caplog.text.count("broker: unexpected") == 2


def test_certificates_that_cannot_be_read_are_one_clear_line(tmp_path: Path) -> None:
    tls = BrokerTls(tmp_path / "ca.pem", tmp_path / "a.pem", tmp_path / "a.key")
    with pytest.raises(ConfigError, match="certificate or key"):
        Broker(BrokerConfig(tls=tls)).start()


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert BrokerConfig().host == "127.0.0.1"


def test_an_end_waits_for_no_handshake(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    with Broker(BrokerConfig(tls=tls_of(authority, tmp_path / "broker"))) as broker:
        hanging = socket.create_connection(("127.0.0.1", broker.port))
        broker.stop()
        assert hanging.recv(1) == b""
        hanging.close()
