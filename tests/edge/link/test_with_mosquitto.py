"""The link with the broker that it is used with: killed, stopped, restarted, and shared."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.edge.network import BadNetwork
from edge.enrolment import Authority, Identity, write_files
from edge.enrolment.files import SECRET, File
from edge.link.mqtt import LinkConfig, Tls
from edge.link.port import Message
from tests.broker import Mosquitto, Mosquittos
from tests.edge.link.users import User, Users, at, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]
STOP_S = 15.0


def connected(users: Users, config: LinkConfig, *filters: str, will: Message | None = None) -> User:
    found = users(config)
    found.start(*filters, will=will)
    found.wait_connected()
    return found


def secured(authority: Authority, identity: Identity, folder: Path, port: int) -> LinkConfig:
    """As a device is set up."""
    files = {"ca.pem": File(authority.pem), "pem": File(identity.certificate)}
    own = folder / identity.name
    write_files(own, files | {"key": File(identity.key, SECRET)})
    tls = Tls(own / "ca.pem", own / "pem", own / "key")
    return at(port, identity.name, tls=tls)


@pytest.fixture(params=["plain", "tls"])
def site(
    request: pytest.FixtureRequest, mosquittos: Mosquittos, tmp_path: Path
) -> tuple[Mosquitto, Callable[[str], LinkConfig]]:
    """A broker of either kind, and how devices reach it."""
    if request.param == "plain":
        plain = mosquittos()
        return plain, lambda name: at(plain.port, name)
    authority = Authority.load_or_create(tmp_path / "ca")
    broker = mosquittos(authority=authority)

    def reach(name: str) -> LinkConfig:
        identity = authority.issue_hub() if name == "hub" else authority.issue_device(name)
        return secured(authority, identity, tmp_path, broker.port)

    return broker, reach


UP, DOWN = "edge/a/up/reply", "edge/a/down/command"


def test_it_is_back_after_the_broker_was_killed(
    users: Users, site: tuple[Mosquitto, Callable[[str], LinkConfig]]
) -> None:
    broker, reach = site
    hub = connected(users, reach("hub"), "edge/+/up/#")
    a = connected(users, reach("a"), "edge/a/down/#")
    for number in range(3):
        broker.kill()
        wait_for(lambda: not a.link.is_connected and not hub.link.is_connected)
        assert not a.link.publish(Message(UP, b"lost"))
        broker.start()
        a.wait_connected()
        hub.wait_connected()
        assert a.link.publish(Message(UP, b"%d" % number))
        assert hub.next().payload == b"%d" % number
        assert hub.link.publish(Message(DOWN, b"%d" % number))
        assert a.next().payload == b"%d" % number


def test_what_was_said_meanwhile_arrives(
    users: Users, site: tuple[Mosquitto, Callable[[str], LinkConfig]]
) -> None:
    broker, reach = site
    hub = connected(users, reach("hub"))
    with BadNetwork(("127.0.0.1", broker.port)) as network:
        away = replace(reach("a"), port=network.port, min_wait_s=0.3, max_wait_s=0.6)
        a = connected(users, away, "edge/a/down/#")
        network.cut()
        wait_for(lambda: not a.link.is_connected)
        for number in range(3):
            assert hub.link.publish(Message(DOWN, b"%d" % number))
        assert [a.next().payload for _ in range(3)] == [b"0", b"1", b"2"]
        a.link.stop()


def test_a_session_outlives_a_restart_in_good_order(
    users: Users, mosquittos: Mosquittos, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    broker = mosquittos("persistence true", f"persistence_location {data}/")
    hub = connected(users, at(broker.port, "hub"))
    a = connected(users, at(broker.port), "t")
    a.link.stop()
    assert hub.link.publish(Message("t", b"meanwhile"))
    hub.link.stop(Message("u", b"done"))  # acknowledged: the broker has all before it
    broker.stop()
    broker.start()
    again = users(at(broker.port))
    again.start("t")
    assert again.next().payload == b"meanwhile"


def test_a_message_that_expired_does_not_arrive(users: Users, mosquittos: Mosquittos) -> None:
    broker = mosquittos()
    hub = connected(users, at(broker.port, "hub"))
    with BadNetwork(("127.0.0.1", broker.port)) as network:
        a = connected(users, at(network.port, min_wait_s=3.0, max_wait_s=6.0), "t")
        network.cut()
        wait_for(lambda: not a.link.is_connected)
        assert hub.link.publish(Message("t", b"old", expiry_s=1))
        assert hub.link.publish(Message("t", b"good", expiry_s=60))
        assert a.next().payload == b"good"
        a.link.stop()


def test_a_short_cut_is_no_news_and_a_long_one_is(users: Users, mosquittos: Mosquittos) -> None:
    broker = mosquittos()
    observer = connected(users, at(broker.port, "observer"), "s/+")
    with BadNetwork(("127.0.0.1", broker.port)) as network:
        short = at(network.port, "short", will_delay_s=6)
        long = at(network.port, "long", will_delay_s=1, min_wait_s=600.0, max_wait_s=600.0)
        a = connected(users, short, "t", will=Message("s/short", b"gone", True))
        b = users(long)
        b.link._draw = iter([0.0, 0.9]).__next__  # there at once, and then not for long
        b.start("t", will=Message("s/long", b"gone", True))
        b.wait_connected()
        network.cut()
        a.wait_connected()
        heard = observer.next()
        assert (heard.topic, heard.payload) == ("s/long", b"gone")
        deadline = time.monotonic() + 6.5  # past the delay of the short one
        while time.monotonic() < deadline:
            assert observer.heard.empty()
            time.sleep(0.1)
        a.link.stop()
        b.link.stop()


def test_two_with_one_name_fight_less_and_less(users: Users, mosquittos: Mosquittos) -> None:
    broker = mosquittos()
    began_s = time.monotonic()
    both = [users(at(broker.port, "same", min_wait_s=0.05, max_wait_s=60.0)) for _ in range(2)]
    for one in both:
        one.start("t")
    # Each time that one is pushed out its wait doubles: 0.05 s, 0.1, 0.2 ...
    while (took_s := time.monotonic() - began_s) < 3:
        wait_for(lambda: sum(one.connected.qsize() for one in both) > 2)
        assert sum(one.connected.qsize() for one in both) < 16, took_s
        time.sleep(0.05)
    words = {one.link.last_error for one in both} - {None}
    assert words == {"it closed the connection; it ends, or another client has our name"}


def test_a_revoked_certificate_ends_in_long_waits(
    users: Users, mosquittos: Mosquittos, tmp_path: Path
) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    broker = mosquittos(authority=authority)
    config = secured(authority, authority.issue_device("a"), tmp_path, broker.port)
    authority.revoke("a")
    write_files(broker.folder, {"crl.pem": File(authority.revocations)})
    broker.reload()
    a = users(config)
    a.start("edge/a/down/#")
    wait_for(lambda: a.link.last_error)
    assert "is our certificate good?" in str(a.link.last_error)
    a.link.stop()


def test_stop_is_quick_while_the_broker_is_silent(
    users: Users, site: tuple[Mosquitto, Callable[[str], LinkConfig]]
) -> None:
    broker, reach = site
    a = connected(users, reach("a"), "edge/a/down/#")
    late = users(reach("b"))
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        late.start("edge/b/down/#")
        for one in (a, late):
            began_s = time.monotonic()
            one.link.stop(Message("edge/a/status", b"left", True))
            assert time.monotonic() - began_s < STOP_S
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_a_silent_broker_is_noticed_by_the_keepalive(users: Users, mosquittos: Mosquittos) -> None:
    broker = mosquittos()
    a = connected(users, at(broker.port, keepalive_s=1), "t")
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: not a.link.is_connected)
    finally:
        broker.process.send_signal(signal.SIGCONT)
    a.wait_connected()
