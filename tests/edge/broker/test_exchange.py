"""Who gets what and when, with a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge.broker import Limits, OpenRules
from edge.broker.exchange import Exchange
from edge.broker.packets import Connect, Packet, Publish, Subscription, Will, encode
from edge.broker.session import Session, size_of
from edge.broker.wire import Property, Reason, Value

FOREVER = 0xFFFF_FFFF


@dataclass
class Outlet:
    """A connection whose client reads what it is told to."""

    is_full: bool = False
    sent: list[Packet] = field(default_factory=list)
    ended: Reason | None = None

    def send(self, packet: Packet) -> None:
        self.sent.append(packet)

    def end(self, reason: Reason) -> None:
        self.ended = reason

    @property
    def heard(self) -> list[Publish]:
        return [one for one in self.sent if isinstance(one, Publish)]

    @property
    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.heard]


def exchange(limits: Limits | None = None) -> Exchange:
    return Exchange(OpenRules(), limits or Limits())


def attach(
    on: Exchange,
    client: str,
    now: float = 0,
    *,
    session_s: int = 100,
    will: Will | None = None,
    is_clean: bool = False,
    **more: int,
) -> tuple[Session, Outlet]:
    """``more``: properties, by name. What waits is sent."""
    found: dict[Property, Value] = {Property[name]: value for name, value in more.items()}
    connect = Connect(
        client, is_clean, will=will, properties=found | {Property.SESSION_EXPIRY: session_s}
    )
    outlet = Outlet()
    session, _ = on.attach(connect, client, None, outlet, now)
    session.resume(now)
    return session, outlet


def subscribe(on: Exchange, session: Session, *filters: str) -> None:
    for one in filters:
        assert on.subscribe(session, Subscription(one, 1), 0) == 1


def say(
    on: Exchange, topic: str, payload: bytes, now: float = 0, *, retain: bool = False, **more: int
) -> None:
    found: dict[Property, Value] = {Property[name]: value for name, value in more.items()}
    assert on.publish(None, Publish(topic, payload, 1, retain, id=1, properties=found), now)


def kept(on: Exchange, now: float, filter: str = "#") -> list[bytes]:
    """What a newcomer is sent."""
    session, outlet = attach(on, "newcomer", now, session_s=0, is_clean=True)
    on.send_retained(session, Subscription(filter, 0), True, now)
    on.detach(session, outlet, now)
    return outlet.payloads


def test_a_session_is_there_until_its_time_is_over() -> None:
    on = exchange()
    session, outlet = attach(on, "a", session_s=10)
    on.detach(session, outlet, 100)
    on.tick(109.9)
    assert "a" in on.sessions
    on.tick(110)
    assert "a" not in on.sessions


def test_who_comes_at_its_session_s_last_moment_has_a_new_one() -> None:
    on = exchange()
    session, outlet = attach(on, "a", session_s=10)
    on.detach(session, outlet, 100)
    assert attach(on, "a", 110)[0] is not session


def test_who_comes_back_in_time_does_not_lose_its_session_later() -> None:
    on = exchange()
    session, outlet = attach(on, "a", session_s=10)
    on.detach(session, outlet, 0)
    assert attach(on, "a", 5, session_s=10)[0] is session
    on.tick(1_000)
    assert on.sessions["a"] is session


def test_no_session_is_kept_for_ever() -> None:
    on = exchange(Limits(max_session_s=50))
    session, outlet = attach(on, "a", session_s=FOREVER)
    on.detach(session, outlet, 0)
    on.tick(50)
    assert not on.sessions


@pytest.mark.parametrize(("delay_s", "session_s", "at"), [(5, 100, 5), (100, 5, 5), (0, 100, 0)])
def test_a_will_comes_after_its_delay_or_with_the_session_s_end(
    delay_s: int, session_s: int, at: int
) -> None:
    on = exchange()
    watcher, outlet = attach(on, "watcher")
    subscribe(on, watcher, "w")
    will = Will("w", b"gone", 1, properties={Property.WILL_DELAY: delay_s})
    session, lost = attach(on, "a", will=will, session_s=session_s)
    on.detach(session, lost, 1_000)
    on.tick(1_000 + at - 0.1)
    assert outlet.payloads == ([] if at else [b"gone"])
    on.tick(1_000 + at)
    on.tick(5_000)
    assert outlet.payloads == [b"gone"]
    assert Property.WILL_DELAY not in outlet.heard[0].properties


def test_a_clean_start_ends_the_old_session_and_so_publishes_its_will() -> None:
    on = exchange()
    watcher, outlet = attach(on, "watcher")
    subscribe(on, watcher, "w")
    will = Will("w", b"gone", 1, properties={Property.WILL_DELAY: 50})
    session, lost = attach(on, "a", will=will)
    on.detach(session, lost, 0)
    attach(on, "a", 1, is_clean=True)
    assert outlet.payloads == [b"gone"]


def test_a_takeover_ends_the_old_connection_and_its_late_end_harms_nothing() -> None:
    on = exchange()
    session, old = attach(on, "a")
    again, new = attach(on, "a", 1)
    assert (again, old.ended, new.ended) == (session, Reason.TAKEN_OVER, None)
    on.detach(session, old, 2)
    assert session.outlet is new


def test_a_message_that_waits_has_less_and_less_time_and_then_none() -> None:
    on = exchange()
    session, outlet = attach(on, "a")
    subscribe(on, session, "t")
    on.detach(session, outlet, 0)
    say(on, "t", b"short", 0, MESSAGE_EXPIRY=10)
    say(on, "t", b"long", 0, MESSAGE_EXPIRY=60)
    _, outlet = attach(on, "a", 20)
    assert outlet.payloads == [b"long"]
    assert outlet.heard[0].properties[Property.MESSAGE_EXPIRY] == 40
    assert session.dropped == 1


def test_a_retained_message_expires_and_gives_its_room_back() -> None:
    on = exchange(Limits(max_retained=1))
    say(on, "old", b"old", 0, retain=True, MESSAGE_EXPIRY=10)
    say(on, "new", b"refused", 5, retain=True)
    assert kept(on, 9) == [b"old"]
    say(on, "new", b"new", 10, retain=True)
    assert kept(on, 10) == [b"new"]


def test_a_retained_message_without_room_leaves_no_stale_one() -> None:
    on = exchange(Limits(max_retained_bytes=1_000))
    say(on, "t", b"old", retain=True)
    say(on, "t", bytes(2_000), retain=True)
    assert kept(on, 0) == []
    say(on, "t", b"new", retain=True)
    assert kept(on, 0) == [b"new"]


def test_what_is_taken_away_gives_all_its_room_back() -> None:
    on = exchange(Limits(max_retained_bytes=1_000))
    for number in range(100):
        say(on, "t", bytes(500), retain=True)
        say(on, f"u/{number}", b"", retain=True)
        say(on, "t", b"", retain=True)
    assert on._retained_bytes == 0


@pytest.mark.parametrize("pairs", [(("k", "v" * 5_000),), (("k", "v"),) * 50])
def test_properties_count_as_much_as_payloads(pairs: tuple[tuple[str, str], ...]) -> None:
    message = Publish("t", b"", 1, True, id=1, properties={Property.USER: pairs})
    on = exchange(Limits(max_queued_bytes=4_000, max_retained_bytes=4_000))
    session, outlet = attach(on, "a")
    subscribe(on, session, "t")
    on.detach(session, outlet, 0)
    on.publish(None, message, 0)
    assert size_of(message) > 4_000
    assert session.dropped == 1
    assert kept(on, 0) == []


def test_what_is_sent_again_keeps_to_what_the_client_takes_now() -> None:
    on = exchange()
    session, _ = attach(on, "a")
    subscribe(on, session, "t")
    for number in range(4):
        say(on, "t", str(number).encode())
    say(on, "t", bytes(5_000))
    say(on, "t", b"last")
    _, outlet = attach(on, "a", RECEIVE_MAXIMUM=2, MAX_PACKET=1_000)
    assert outlet.payloads == [b"0", b"1"]
    while len(outlet.heard) < 5:
        unseen = outlet.heard[-2:]
        for one in unseen:
            session.acknowledge(one.id, 0)
    assert outlet.payloads == [b"0", b"1", b"2", b"3", b"last"]
    assert all(one.is_duplicate for one in outlet.heard)
    assert all(len(encode(one)) <= 1_000 for one in outlet.heard)


def test_an_acknowledgement_of_what_was_not_sent_again_yet_is_believed() -> None:
    on = exchange()
    session, first = attach(on, "a")
    subscribe(on, session, "t")
    for number in range(3):
        say(on, "t", str(number).encode())
    _, outlet = attach(on, "a", RECEIVE_MAXIMUM=1)
    session.acknowledge(first.heard[1].id, 0)
    session.acknowledge(first.heard[0].id, 0)
    assert outlet.payloads == [b"0", b"2"]


def test_new_messages_do_not_overtake_those_that_are_sent_again() -> None:
    on = exchange()
    session, _ = attach(on, "a")
    subscribe(on, session, "t")
    say(on, "t", b"0")
    say(on, "t", b"1")
    _, outlet = attach(on, "a", RECEIVE_MAXIMUM=1)
    on.publish(None, Publish("t", b"of QoS 0"), 0)
    assert outlet.payloads == [b"0"]
    session.acknowledge(outlet.heard[0].id, 0)
    session.acknowledge(outlet.heard[1].id, 0)
    assert outlet.payloads == [b"0", b"1", b"of QoS 0"]


def test_a_client_that_does_not_read_loses_qos_0_and_keeps_qos_1() -> None:
    on = exchange()
    session, outlet = attach(on, "a")
    subscribe(on, session, "t")
    outlet.is_full = True
    on.publish(None, Publish("t", b"lost"), 0)
    say(on, "t", b"kept")
    assert outlet.payloads == []
    outlet.is_full = False
    session.flush(0)
    assert outlet.payloads == [b"kept"]


def test_numbers_go_round_and_are_not_used_twice_at_a_time() -> None:
    on = exchange()
    session, outlet = attach(on, "a")
    subscribe(on, session, "t")
    say(on, "t", b"never acknowledged")
    for _ in range(70_000):
        say(on, "t", b"x")
        last = outlet.sent[-1]
        assert isinstance(last, Publish)
        session.acknowledge(last.id, 0)
    ids = [one.id for one in outlet.heard]
    assert ids.count(1) == 1
    assert set(ids) == set(range(1, 0x10000))


@pytest.mark.parametrize(
    ("handling", "first", "second"), [(0, 1, 2), (1, 1, 1), (2, 0, 0)], ids=["always", "new", "no"]
)
def test_retained_messages_are_sent_as_the_client_asks(
    handling: int, first: int, second: int
) -> None:
    on = exchange()
    say(on, "t", b"kept", retain=True)
    session, outlet = attach(on, "a")
    one = Subscription("t", 1, retain_handling=handling)
    on.send_retained(session, one, True, 0)
    assert len(outlet.heard) == first
    on.send_retained(session, one, False, 0)
    assert len(outlet.heard) == second
