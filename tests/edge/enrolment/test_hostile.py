"""A device that is not what it should be, at the embedded broker and at mosquitto: nothing that is
for others reaches it, and nothing that it says reaches others under their names."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge import topics
from edge.broker import Broker, BrokerConfig, DeviceRules
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
    Will,
    encode,
)
from edge.broker.wire import Property
from edge.enrolment import Authority, Identity, certificates, write_files
from edge.enrolment.files import SECRET, File
from tests.broker import Mosquitto
from tests.edge.broker.clients import Place, Raw, tls_of

SESSION = {Property.SESSION_EXPIRY: 1000}


@dataclass(frozen=True, slots=True)
class Site:
    """An authority, a broker that trusts it, and whoever connects. ``reload``: has it know who is
    revoked; ``end_revoked``: has it end their connections."""

    authority: Authority
    folder: Path
    port: int
    reload: Callable[[], None]
    end_revoked: Callable[[], None]
    opened: ExitStack

    def context(self, identity: Identity | None) -> ssl.SSLContext:
        """With the identity's certificate, or none."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        if identity is not None:
            files = self.folder / f"{identity.name}.{abs(hash(identity.certificate))}"
            parts = {"pem": File(identity.certificate), "key": File(identity.key, SECRET)}
            write_files(files, parts)
            context.load_cert_chain(files / "pem", files / "key")
        return context

    def connect(
        self,
        identity: Identity | None,
        *,
        client: str | None = None,
        is_clean: bool = False,
        will: Will | None = None,
    ) -> Raw:
        """Has sent CONNECT; the answer is the next packet. Raises OSError when TLS refuses."""
        found = Raw(Place(self.port, context=self.context(identity)))
        self.opened.callback(found.socket.close)
        name = client if client is not None else "" if identity is None else identity.name
        found.send(Connect(name, is_clean, will=will, properties=SESSION))
        return found

    def accepted(self, identity: Identity, *, client: str | None = None) -> Raw:
        """One that is let in."""
        found = self.connect(identity, client=client)
        answer = found.next()
        assert isinstance(answer, Connack)
        assert answer.reason == 0
        return found

    def is_refused(self, identity: Identity | None) -> bool:
        """At the handshake, or at CONNECT."""
        try:
            answer = self.connect(identity).next()
        except OSError:
            return True
        return answer is None or (isinstance(answer, Connack) and answer.reason >= 0x80)


@pytest.fixture(
    params=["embedded", pytest.param("mosquitto", marks=[pytest.mark.broker, pytest.mark.slow])]
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """With a broker of either kind."""
    authority = Authority.load_or_create(tmp_path / "ca")
    with ExitStack() as opened:
        if request.param == "mosquitto":
            broker: Mosquitto = request.getfixturevalue("mosquittos")(authority=authority)

            def reload() -> None:
                write_files(broker.folder, {"crl.pem": File(authority.revocations)})
                broker.reload()

            def restart() -> None:
                broker.kill()
                broker.start()

            yield Site(authority, tmp_path, broker.port, reload, restart, opened)
        else:
            config = BrokerConfig(tls=tls_of(authority, tmp_path / "broker"))
            with Broker(config, rules=DeviceRules()) as embedded:
                yield Site(authority, tmp_path, embedded.port, lambda: None, lambda: None, opened)


def say(client: Raw, *sent: Packet) -> list[Packet]:
    """What comes back, up to the answer to a last PING; or until the broker closes."""
    with contextlib.suppress(OSError):
        client.send(*sent, Pingreq())
    heard: list[Packet] = []
    while (packet := client.next()) is not None and not isinstance(packet, Pingresp):
        heard.append(packet)
    return heard


def messages(heard: list[Packet]) -> list[tuple[str, bytes]]:
    """Of what came."""
    return [(one.topic, one.payload) for one in heard if isinstance(one, Publish)]


def subscribe(client: Raw, *filters: str) -> list[Packet]:
    """And what comes of it."""
    return say(client, Subscribe(7, tuple(Subscription(each, 1) for each in filters)))


def publish(topic: str, payload: bytes = b"forged", *, is_retained: bool = False) -> Publish:
    return Publish(topic, payload, 1, is_retained, id=9)


def hub(site: Site) -> Raw:
    """Hears all that devices say, and has said something to each."""
    found = site.accepted(site.authority.issue_hub())
    answer = subscribe(found, *topics.upward_filters())
    assert isinstance(answer[0], Suback)
    for name in ("a", "b"):
        kept = publish(topics.topic(name, topics.DESIRED), f"for {name}".encode(), is_retained=True)
        assert isinstance(say(found, kept)[0], Puback)
    return found


def test_a_device_is_heard_and_hears(site: Site) -> None:
    listening = hub(site)
    a = site.accepted(site.authority.issue_device("a"))
    heard = subscribe(a, *topics.downward_filters("a"))
    assert messages(heard) == [("edge/a/down/desired", b"for a")]
    for kind in topics.UPWARD:
        say(a, publish(topics.topic("a", kind), b"mine"))
    assert [topic for topic, _ in messages(say(listening))] == [
        topics.topic("a", kind) for kind in topics.UPWARD
    ]


@pytest.mark.parametrize(
    "filter",
    [
        "#",
        "+/#",
        "edge/#",
        "edge/+/up/#",
        "edge/+/down/#",
        "edge/+/down/desired",
        "edge/b/down/desired",
        "edge/b/#",
        "edge/+/status",
        "+/b/+/+",
        "$SYS/#",
        "$share/x/edge/b/down/#",
    ],
)
def test_nothing_of_others_leaks(site: Site, filter: str) -> None:
    listening = hub(site)
    b = site.accepted(site.authority.issue_device("b"))
    say(b, publish(topics.topic("b", topics.STATUS), b"secret", is_retained=True))
    a = site.accepted(site.authority.issue_device("a"))
    heard = subscribe(a, filter)
    say(b, publish(topics.topic("b", topics.TELEMETRY), b"secret"))
    say(listening, publish(topics.topic("b", topics.COMMAND), b"secret"))
    own = "edge/a/down/"
    heard += say(a)
    assert [topic for topic, _ in messages(heard) if not topic.startswith(own)] == []


@pytest.mark.parametrize(
    "topic",
    [
        "edge/b/status",
        "edge/b/up/telemetry",
        "edge/b/up/reported",
        "edge/b/up/reply",
        "edge/b/down/desired",
        "edge/b/down/command",
        "edge/a/down/desired",
        "edge/a/down/ack",
        "edge/a/status/x",
        "edge/a",
        "edge//status",
        "edge/hub/up/telemetry",
        "x",
    ],
)
def test_nothing_arrives_under_others_names(site: Site, topic: str) -> None:
    listening = site.accepted(site.authority.issue_hub())
    subscribe(listening, "edge/#")
    a = site.accepted(site.authority.issue_device("a"))
    say(a, publish(topic), publish(topic, is_retained=True), Publish(topic, b"forged"))
    assert messages(say(listening)) == []
    late = site.accepted(site.authority.issue_hub(), client="hub")
    assert messages(subscribe(late, "edge/#")) == []


def test_nobody_gets_another_s_session_by_its_name(site: Site) -> None:
    listening = hub(site)
    b = site.accepted(site.authority.issue_device("b"))
    subscribe(b, "edge/b/down/command")
    say(b, Disconnect())
    say(listening, publish("edge/b/down/command", b"for b"))
    a = site.connect(site.authority.issue_device("a"), client="b")
    assert messages(say(a)) == []
    again = site.connect(site.authority.issue_device("b"))
    assert [payload for _, payload in messages(say(again))] == [b"for b"]


def test_nobody_ends_another_s_connection_by_its_name(site: Site) -> None:
    b = site.accepted(site.authority.issue_device("b"))
    site.connect(site.authority.issue_device("a"), client="b").next()
    site.connect(site.authority.issue_device("a"), client="b", is_clean=True).next()
    assert say(b, publish("edge/b/up/reply"))  # the answer: it is still there


@pytest.mark.parametrize("topic", ["edge/b/status", "edge/a/down/desired", "edge/b/up/telemetry"])
def test_a_will_is_no_way_around(site: Site, topic: str) -> None:
    listening = site.accepted(site.authority.issue_hub())
    subscribe(listening, "edge/#")
    a = site.connect(site.authority.issue_device("a"), will=Will(topic, b"forged", 1, True))
    a.next()
    a.socket.close()
    done = site.connect(site.authority.issue_device("c"), will=Will("edge/c/status", b"over", 1))
    assert isinstance(done.next(), Connack)
    done.socket.close()
    while not (heard := messages(say(listening))):
        pass
    assert heard == [("edge/c/status", b"over")]


def test_who_shows_no_certificate_stays_out(site: Site) -> None:
    assert site.is_refused(None)


def test_who_shows_another_authority_s_certificate_stays_out(site: Site, tmp_path: Path) -> None:
    other = Authority.load_or_create(tmp_path / "other")
    assert site.is_refused(other.issue_device("a"))
    assert site.is_refused(other.issue_hub())


def test_the_broker_s_own_certificate_lets_nobody_in(site: Site) -> None:
    assert site.is_refused(site.authority.issue_broker(["127.0.0.1"]))


def test_who_is_revoked_stays_out_and_may_come_back_with_a_new_certificate(site: Site) -> None:
    lost, other = site.authority.issue_device("a"), site.authority.issue_device("b")
    assert not site.is_refused(lost)
    site.authority.revoke("a")
    site.reload()
    assert site.is_refused(lost)
    assert not site.is_refused(other)
    assert not site.is_refused(site.authority.issue_device("a"))


def test_who_is_revoked_is_put_out(site: Site) -> None:
    """By mosquitto only when it restarts: SIGHUP lets nobody in anew, and puts nobody out."""
    identity = site.authority.issue_device("a")
    lost = site.accepted(identity)
    site.authority.revoke("a")
    site.reload()
    site.end_revoked()
    lost.socket.settimeout(10)
    with contextlib.suppress(OSError):
        while lost.next() is not None:
            continue
    assert site.is_refused(identity)
    assert not site.is_refused(site.authority.issue_device("b"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_is_revoked_does_not_come_back_by_an_old_tls_session(
    site: Site, version: ssl.TLSVersion
) -> None:
    context = site.context(site.authority.issue_device("a"))
    context.maximum_version = version

    def connect(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
        with (
            socket.create_connection(("127.0.0.1", site.port), 10) as plain,
            context.wrap_socket(
                plain, server_hostname="127.0.0.1", session=session, suppress_ragged_eofs=True
            ) as made,
        ):
            made.sendall(encode(Connect("a", False, properties=SESSION)))
            answer = made.recv(100)
            assert made.session_reused == (session is not None)
            return answer[3:4], made.session

    accepted, session = connect(None)
    assert accepted == b"\0"
    assert connect(session)[0] == b"\0"
    session = connect(None)[1]
    site.authority.revoke("a")
    site.reload()
    with contextlib.suppress(OSError):
        assert connect(session)[0] != b"\0"


def test_who_is_out_of_date_stays_out(site: Site) -> None:
    then = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(days=3 * 365)
    old = Authority(site.authority.folder, now=lambda: then)
    assert site.is_refused(old.issue_device("a"))
    assert site.is_refused(old.issue_hub())


def test_who_signs_for_himself_stays_out(site: Site) -> None:
    key = certificates.new_key()
    now = datetime.datetime.now(tz=datetime.UTC)
    own = certificates.authority_certificate(key, "hub", now)
    assert site.is_refused(Identity("hub", certificates.pem_of(own), certificates.key_pem(key)))


def test_a_device_cannot_issue_certificates(site: Site) -> None:
    """Its certificate signs another, and is shown with it."""
    a = site.authority.issue_device("a")
    key, now = certificates.new_key(), datetime.datetime.now(tz=datetime.UTC)
    forged = certificates.end_certificate(
        certificates.read_certificate(a.certificate),
        certificates.read_key(a.key),
        key,
        "hub",
        now,
    )
    chain = certificates.pem_of(forged) + a.certificate
    assert site.is_refused(Identity("hub", chain, certificates.key_pem(key)))


@pytest.mark.parametrize("name", ["hub", "broker"])
def test_no_device_gets_the_hub_s_name(site: Site, name: str) -> None:
    with pytest.raises(Exception, match="no device can be called"):
        site.authority.issue_device(name)
