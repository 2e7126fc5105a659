"""The link, with the embedded broker, bad networks, and brokers that misbehave."""

from __future__ import annotations

import datetime
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.edge.network import BadNetwork
from edge.broker import Broker, BrokerConfig, DeviceRules
from edge.broker.packets import (
    Connack,
    Disconnect,
    Packet,
    Puback,
    Publish,
    Suback,
    Subscribe,
    decode,
    encode,
)
from edge.broker.wire import Frames, Property
from edge.enrolment import Authority, Identity, write_files
from edge.enrolment.files import SECRET, File
from edge.errors import LinkError
from edge.link.mqtt import LinkConfig, MqttLink, Tls
from edge.link.port import Message
from tests.edge.broker.clients import Client, Place, tls_of
from tests.edge.link.users import WAIT_S, User, Users, at, wait_for
from tests.ports import free_port


@pytest.fixture
def broker() -> Iterator[Broker]:
    """An embedded one, open to all."""
    with Broker(BrokerConfig()) as found:
        yield found


def test_what_one_says_the_other_hears(users: Users, broker: Broker) -> None:
    a, b = users(at(broker.port)), users(at(broker.port, "b"))
    a.start("t/#")
    b.start()
    a.wait_connected()
    b.wait_connected()
    sent = Message("t/1", b"\0x", expiry_s=100, properties={"ct": "json", "trace": "ü"})
    assert b.link.publish(sent)
    heard = a.next()
    assert (heard.topic, heard.payload, heard.is_retained) == ("t/1", b"\0x", False)
    assert heard.properties == {"ct": "json", "trace": "ü"}


def test_retained_messages_come_at_each_connection(users: Users, broker: Broker) -> None:
    with BadNetwork(("127.0.0.1", broker.port)) as network:
        a, b = users(at(network.port)), users(at(broker.port, "b"))
        b.start()
        b.wait_connected()
        b.link.publish(Message("t", b"kept", True))
        a.start("t")
        assert a.next().is_retained
        network.cut()
        assert a.next().payload == b"kept"


def test_it_starts_without_a_broker_and_connects_when_there_is_one(
    users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    a = users(at(port))
    with caplog.at_level(logging.WARNING):
        a.start("t")
        wait_for(lambda: a.link.last_error)
    assert not a.link.is_connected
    assert not a.link.publish(Message("t", b"x"))
    assert f"broker 127.0.0.1:{port}: Connection refused; next attempt in 0 s" in caplog.text
    with Broker(BrokerConfig(port=port)):
        a.wait_connected()
        assert a.link.publish(Message("t", b"x"))
        assert a.next().payload == b"x"


def test_the_same_trouble_is_logged_once(users: Users, caplog: pytest.LogCaptureFixture) -> None:
    waits: list[float] = []

    def draw() -> float:
        waits.append(0.0)
        return 0.0

    port = free_port()
    a = User(at(port))
    a.link._draw = draw
    try:
        with caplog.at_level(logging.WARNING):
            a.start()
            wait_for(lambda: len(waits) > 5)
    finally:
        a.link.stop()
    assert len([one for one in caplog.records if "next attempt" in one.message]) == 1


def test_the_same_trouble_after_a_connection_is_logged_again(
    users: Users, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), BadNetwork(("127.0.0.1", broker.port)) as network:
        a = users(at(network.port))
        a.start("t")
        for _ in range(3):
            a.wait_connected()
            network.cut()
        a.wait_connected()
        a.link.stop()
    said = [one.getMessage() for one in caplog.records if one.name.startswith("edge.link")]
    assert len([one for one in said if "was lost" in one or "it closed" in one]) == 3
    assert len([one for one in said if "connected to the broker 127.0.0.1:" in one]) == 4


def test_a_session_outlives_the_connection(users: Users, broker: Broker) -> None:
    with BadNetwork(("127.0.0.1", broker.port)) as network:
        a, b = users(at(network.port, min_wait_s=0.2, max_wait_s=0.4)), users(at(broker.port, "b"))
        a.start("t")
        b.start()
        a.wait_connected()
        b.wait_connected()
        network.cut()
        wait_for(lambda: not a.link.is_connected)
        assert b.link.publish(Message("t", b"meanwhile"))
        assert a.next().payload == b"meanwhile"


def test_a_broker_that_is_gone_and_back_is_used_again(users: Users) -> None:
    with Broker(BrokerConfig()) as first:
        port = first.port
        a = users(at(port))
        a.start("t")
        a.wait_connected()
    wait_for(lambda: not a.link.is_connected)
    with Broker(BrokerConfig(port=port)):
        a.wait_connected()
        assert a.link.publish(Message("t", b"x"))
        assert a.next().payload == b"x"


def test_the_will_goes_out_after_a_cut_and_not_after_an_end(users: Users, broker: Broker) -> None:
    observer = Client(Place(broker.port), "observer")
    observer.subscribe("a/status")
    with BadNetwork(("127.0.0.1", broker.port)) as network:
        a = users(at(network.port, min_wait_s=0.5, max_wait_s=1.0))
        a.start("t", will=Message("a/status", b"gone", True))
        a.wait_connected()
        network.cut()
        assert observer.texts(1) == ["gone"]
    left = users(at(broker.port, "left"))
    left.start("t", will=Message("a/status", b"gone", True))
    left.wait_connected()
    left.link.stop(Message("a/status", b"left", True))
    assert observer.texts(1) == ["left"]
    wait_for(lambda: "1 connections" in repr(broker))
    assert observer.is_quiet()
    observer.leave()


def test_publish_takes_no_more_than_the_limit_while_nothing_is_acknowledged(
    users: Users, broker: Broker
) -> None:
    with BadNetwork(("127.0.0.1", broker.port)) as network:
        a = users(at(network.port, max_in_flight=2, max_queued=5))
        a.start("t")
        a.wait_connected()
        network.silence()
        taken = [a.link.publish(Message("t", b"x")) for _ in range(50)]
        assert 5 <= sum(taken) <= 7
        assert not taken[-1]
        network.mend()
        wait_for(lambda: a.link.publish(Message("t", b"x")))


@pytest.mark.parametrize(
    "bad",
    [
        Message("t/#", b"no topic"),
        Message("", b"none"),
        Message("t\0", b""),
        Message("\ud800", b""),
        Message("x" * 70_000, b"too long"),
        Message("t", b"x" * (1 << 20)),
        Message("t", b"", properties={"x": "y" * 70_000}),
        Message("t", b"", properties={"x": "\ud800"}),
        Message("t", b"", properties={"x\0": "y"}),
    ],
    ids=lambda bad: ascii(bad)[:40],
)
def test_a_message_that_cannot_be_sent_is_refused_and_harms_nothing(
    users: Users, broker: Broker, bad: Message
) -> None:
    a = users(at(broker.port))
    a.start("t")
    a.wait_connected()
    assert not a.link.publish(bad)
    assert a.link.publish(Message("t", b"x", expiry_s=2**40))
    assert a.next().payload == b"x"
    assert a.link.connections == 0


def test_callbacks_that_raise_do_not_end_the_link(broker: Broker) -> None:
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def on_message(message: Message) -> None:
        heard.put(message.payload)
        raise RuntimeError("a mistake")

    def on_connected() -> None:
        raise RuntimeError("another")

    link = MqttLink(at(broker.port))
    link.start(subscriptions=["t"], on_message=on_message, on_connected=on_connected)
    try:
        wait_for(lambda: link.is_connected)
        for payload in (b"1", b"2"):
            assert link.publish(Message("t", payload))
            assert heard.get(timeout=WAIT_S) == payload
        assert link.connections == 0
    finally:
        link.stop()


def test_stop_is_quick_whatever_the_state_and_may_be_said_twice(
    users: Users, broker: Broker
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections, says nothing
        for port in (broker.port, mute.getsockname()[1], 1):
            a = users(at(port))
            a.start("t")
            if port == broker.port:
                a.wait_connected()
            began_s = time.monotonic()
            a.link.stop(Message("a/status", b"left"))
            a.link.stop()
            assert time.monotonic() - began_s < 15
            assert not a.link.publish(Message("t", b"x"))


def test_a_link_is_started_once(users: Users, broker: Broker) -> None:
    a = users(at(broker.port))
    a.start()
    with pytest.raises(LinkError):
        a.start()


def scripted(*answers: bytes) -> tuple[int, Callable[[], int], Callable[[], None]]:
    """A broker that says these to everybody: its port, how many came, and its end."""
    server = socket.create_server(("127.0.0.1", 0))
    came: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            came.append(connection)
            try:
                connection.recv(65536)
                for answer in answers:
                    connection.sendall(answer)
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()

    def end() -> None:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for connection in came:
            connection.close()

    return server.getsockname()[1], lambda: len(came), end


@pytest.mark.parametrize(
    "junk",
    [
        b"\x30\x05\x00\x03\xff\xfe\xfd",  # a topic that is no text, and nothing after it
        b"\x30\x01\x00",
        b"\x30\x06\x00\x01t\x02\xff\xff",  # a property that is none
        b"\x40\x01\x00",
        b"\xff\xff\xff\xff\xff\xff",
        b"\x90\x03\x00\x01\x05",
        b"\x20\x00",
    ],
)
def test_a_broker_that_speaks_nonsense_is_left_and_tried_again(users: Users, junk: bytes) -> None:
    port, count, end = scripted(encode(Connack()), encode(Suback(1, (1,))), junk, b"\0" * 8)
    try:
        a = users(at(port))
        a.start("t")
        wait_for(lambda: count() >= 2)
    finally:
        a.link.stop()
        end()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (encode(Connack(reason=0x87)), "it refuses us: Not authorized"),
        (encode(Connack(reason=0x84)), "it refuses us: Unsupported protocol version"),
        (encode(Connack()) + encode(Suback(1, (0x87,))), "it refuses a subscription: t: Not auth"),
        (encode(Connack()) + encode(Disconnect(0x8E)), "the connection was lost: Session taken"),
    ],
)
def test_a_refusal_is_one_clear_line_and_a_longer_wait(
    users: Users, answer: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    port, _, end = scripted(answer)
    a = users(at(port))
    try:
        with caplog.at_level(logging.WARNING):
            a.start("t")
            wait_for(lambda: a.link.last_error)
    finally:
        a.link.stop()
        end()
    assert a.link.last_error is not None
    assert a.link.last_error.startswith(words)
    assert "next attempt in 30 s" in caplog.text


def test_a_message_with_a_topic_that_is_no_text_is_left_out(users: Users) -> None:
    bad = b"\x30\x05\x00\x02\xff\xfe\x00"
    good = encode(Publish("t", b"good"))
    port, _, end = scripted(encode(Connack()), encode(Suback(1, (1,))), bad, good)
    a = users(at(port))
    try:
        a.start("t")
        assert a.next().payload == b"good"
    finally:
        a.link.stop()
        end()


def test_a_packet_that_is_larger_than_we_said_ends_the_connection(
    users: Users, caplog: pytest.LogCaptureFixture
) -> None:
    """Before it is there: a device has not so much memory."""
    head = b"\x30\xff\xff\xff\x7f"
    port, count, end = scripted(encode(Connack()), encode(Suback(1, (1,))), head + b"x" * 9)
    a = users(at(port))
    try:
        with caplog.at_level(logging.WARNING):
            a.start("t")
            wait_for(lambda: count() >= 2)
    finally:
        a.link.stop()
        end()
    assert "it sends a packet of 268435455 bytes, more than we take" in caplog.text


def test_what_is_refused_again_and_again_is_logged_once(
    users: Users, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    a = users(at(broker.port))
    a.start()
    a.wait_connected()
    for _ in range(5):
        assert not a.link.publish(Message("t", b"x" * (1 << 20)))
    assert not a.link.publish(Message("t\0", b"x"))
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 2


def test_what_the_broker_can_take_is_kept_to(users: Users) -> None:
    """Each message is sent once the one before is acknowledged: it says that it takes one."""
    limits = {Property.RECEIVE_MAXIMUM: 1, Property.MAX_PACKET: 8192}
    with socket.create_server(("127.0.0.1", 0)) as server:
        a = users(at(server.getsockname()[1]))
        a.start("t")
        server.settimeout(WAIT_S)
        with server.accept()[0] as connection:
            connection.settimeout(WAIT_S)
            frames = Frames(1 << 20)

            def heard() -> Packet:
                while True:
                    for frame in frames.feed(connection.recv(1 << 16)):
                        return decode(*frame)

            heard()
            connection.sendall(encode(Connack(properties=limits)))
            assert isinstance(heard(), Subscribe)
            connection.sendall(encode(Suback(1, (1,))))
            a.wait_connected()
            assert not a.link.publish(Message("t", b"x" * 8192))
            for payload in (b"1", b"2"):
                assert a.link.publish(Message("t", payload))
            first = heard()
            assert isinstance(first, Publish)
            assert first.payload == b"1"
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                heard()
            connection.settimeout(WAIT_S)
            connection.sendall(encode(Puback(first.id)))
            second = heard()
            assert isinstance(second, Publish)
            assert second.payload == b"2"
            a.link.stop()


# With certificates.


class Site:
    """An authority, and a broker with its certificate."""

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self.folder = folder
        self.authority = authority or Authority.load_or_create(folder / "ca")
        tls = tls_of(self.authority, folder / "broker")
        self.broker = Broker(BrokerConfig(tls=tls), rules=DeviceRules())

    def config(self, identity: Identity, *, server_name: str | None = None) -> LinkConfig:
        files = {
            "ca.pem": File(self.authority.pem),
            "pem": File(identity.certificate),
            "key": File(identity.key, SECRET),
        }
        own = self.folder / identity.name
        write_files(own, files)
        tls = Tls(own / "ca.pem", own / "pem", own / "key", server_name)
        return at(self.broker.port, identity.name, tls=tls)


def test_both_sides_show_certificates(users: Users, tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.broker:
        a = users(site.config(site.authority.issue_device("press-7")))
        a.start("edge/press-7/down/#")
        a.wait_connected()
        hub = users(site.config(site.authority.issue_hub()))
        hub.start("edge/+/up/#")
        hub.wait_connected()
        hub.link.publish(Message("edge/press-7/down/ack", b"x"))
        assert a.next().payload == b"x"
        a.link.publish(Message("edge/press-7/up/reply", b"y"))
        assert hub.next().payload == b"y"
        a.link.stop()
        hub.link.stop()


def last_error(users: Users, config: LinkConfig, **options: Any) -> str:
    """Of a link that cannot connect."""
    a = users(config, **options)
    a.start()
    wait_for(lambda: a.link.last_error)
    a.link.stop()
    assert a.link.connections == 0
    return str(a.link.last_error)


def test_a_broker_of_another_authority_is_not_believed(users: Users, tmp_path: Path) -> None:
    site, other = Site(tmp_path / "a"), Site(tmp_path / "b")
    with site.broker:
        config = other.config(other.authority.issue_device("a"))
        error = last_error(users, replace(config, port=site.broker.port))
        assert error.startswith("its certificate: ")
        wrong_clock = last_error(
            users, replace(config, port=site.broker.port), is_clock_right=lambda: False
        )
        assert wrong_clock.startswith("its certificate: ")


def test_the_broker_must_have_the_name_that_was_asked_for(users: Users, tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.broker:
        identity = site.authority.issue_device("a")
        assert "mismatch" in last_error(users, site.config(identity, server_name="other.example"))
        a = users(site.config(identity, server_name="localhost"))
        a.start()
        a.wait_connected()
        a.link.stop()


def test_a_device_cannot_pose_as_the_broker(users: Users, tmp_path: Path) -> None:
    site = Site(tmp_path)
    posing = site.authority.issue_device("b")
    write_files(tmp_path / "broker", {"pem": File(posing.certificate), "key": File(posing.key)})
    with site.broker:
        error = last_error(users, site.config(site.authority.issue_device("a")))
    assert "its certificate: unsuitable certificate purpose" in error


def test_a_revoked_certificate_says_so(users: Users, tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.broker:
        identity = site.authority.issue_device("a")
        site.authority.revoke("a")
        assert "it refuses us: Not authorized" in last_error(users, site.config(identity))


def test_a_certificate_that_the_broker_does_not_know_is_one_clear_line(
    users: Users, tmp_path: Path
) -> None:
    site, other = Site(tmp_path / "a"), Authority.load_or_create(tmp_path / "b")
    with site.broker:
        error = last_error(users, site.config(other.issue_device("a")))
    assert "is our certificate good?" in error


def test_files_that_are_no_certificates_are_one_clear_line(users: Users, tmp_path: Path) -> None:
    site = Site(tmp_path)
    config = site.config(site.authority.issue_device("a"))
    (tmp_path / "a/pem").write_text("not a certificate")
    assert last_error(users, config).startswith("certificate or key: ")
    (tmp_path / "a/pem").unlink()
    error = last_error(users, config)
    assert error == "certificate or key: No such file or directory"


@pytest.mark.parametrize("years", [-40, 40])
def test_a_clock_that_is_known_to_be_wrong_keeps_nobody_out(
    users: Users, tmp_path: Path, years: int
) -> None:
    """To a device at 1970 a good certificate is of the future, to one at 2060 of the past; here the
    broker's is, as seen from a right clock."""
    now = datetime.datetime.now(tz=datetime.UTC)
    then = now - datetime.timedelta(days=years * 365)
    strange = Authority.load_or_create(tmp_path / "strange", now=lambda: then)
    good = Site(tmp_path)
    theirs = tls_of(strange, tmp_path / "strange broker")
    # The broker's own clock is right: the device's certificate is good to it.
    tls = replace(theirs, ca=tmp_path / "broker/ca.pem")
    with Broker(BrokerConfig(tls=tls)) as broker:
        config = good.config(good.authority.issue_device("a"))
        write_files(tmp_path / "a", {"ca.pem": File(strange.pem)})
        config = replace(config, port=broker.port)
        assert last_error(users, config).startswith("its certificate: ")
        a = users(config, is_clock_right=lambda: False)
        a.start()
        a.wait_connected()
        a.link.stop()
