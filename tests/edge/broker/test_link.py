"""The link that devices and the hub use, with the embedded broker and with mosquitto."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.edge.network import BadNetwork
from edge.link.port import Message
from tests.edge.broker.clients import Place
from tests.edge.link.users import User, Users, at


@pytest.fixture
def users() -> Iterator[Users]:
    """Links that end with the test."""
    with ExitStack() as made:

        def make(*options: object, **more: object) -> User:
            found = User(*options, **more)  # type: ignore[arg-type]
            made.callback(found.link.stop)
            return found

        yield make


def test_a_message_arrives_with_its_properties(place: Place, users: Users) -> None:
    a, b = users(at(place.port)), users(at(place.port, "b"))
    a.start("edge/+/up/#")
    b.start()
    a.wait_connected()
    b.wait_connected()
    assert b.link.publish(
        Message("edge/b/up/reply", b"\0x", expiry_s=100, properties={"trace": "ü"})
    )
    heard = a.next()
    assert (heard.topic, heard.payload, heard.is_retained) == ("edge/b/up/reply", b"\0x", False)
    assert heard.properties == {"trace": "ü"}


def test_retained_messages_come_at_each_connection(place: Place, users: Users) -> None:
    with BadNetwork(("127.0.0.1", place.port)) as network:
        a, b = users(at(network.port)), users(at(place.port, "b"))
        b.start()
        b.wait_connected()
        assert b.link.publish(Message("edge/a/down/desired", b"7", is_retained=True))
        a.start("edge/a/down/#")
        a.wait_connected()
        assert a.next().payload == b"7"
        network.cut()
        a.wait_connected()
        again = a.next()
        assert (again.payload, again.is_retained) == (b"7", True)


def test_the_will_says_that_a_device_is_cut_off_and_not_that_it_left(
    place: Place, users: Users
) -> None:
    hub = users(at(place.port, "hub"))
    hub.start("edge/+/status")
    hub.wait_connected()
    with BadNetwork(("127.0.0.1", place.port)) as network:
        device = users(at(network.port, "b", min_wait_s=0.2))
        device.start(will=Message("edge/b/status", b"gone", is_retained=True))
        device.wait_connected()
        network.cut()
        assert hub.next().payload == b"gone"
        device.link.stop()
    left = users(at(place.port, "c"))
    left.start(will=Message("edge/c/status", b"gone", is_retained=True))
    left.wait_connected()
    left.link.stop(Message("edge/c/status", b"left", is_retained=True))
    assert hub.link.publish(Message("edge/c/status", b"nothing between"))
    # b may have been stopped while it connected again: its will comes once more.
    heard = [hub.next() for _ in range(2)]
    while len(of_c := [one.payload for one in heard if one.topic == "edge/c/status"]) < 2:
        heard.append(hub.next())
    assert of_c == [b"left", b"nothing between"]
