"""The broker without a network: who is there, what is retained, who gets what.

Everything is in memory and ends with the process. No I/O; the time comes with the call; not safe
for threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edge.broker import filters
from edge.broker.packets import Connect, Publish, Subscription, Will
from edge.broker.rules import Rules
from edge.broker.session import Delivery, Limits, Outlet, Session, size_of
from edge.broker.wire import MESSAGE, Property, ProtocolError, Reason

NEVER = 0xFFFFFFFF
"""A session's expiry that means: never."""


@dataclass(frozen=True, slots=True)
class _Kept:
    message: Publish
    expires_at: float | None
    size_bytes: int

    def is_over(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass(slots=True)
class Exchange:
    """``sessions``: by client id."""

    rules: Rules
    limits: Limits
    sessions: dict[str, Session] = field(default_factory=dict)
    _retained: dict[str, _Kept] = field(default_factory=dict)
    _retained_bytes: int = 0

    def attach(
        self, connect: Connect, client: str, user: str | None, outlet: Outlet, now: float
    ) -> tuple[Session, bool]:
        """(the client's session, whether it was there before). Another connection of this client
        ends. Raises ProtocolError for what it may not do."""
        will = connect.will
        if will is not None:
            self._check_will(user, will)
        old = self.sessions.get(client)
        if old is not None and old.user != user:
            raise ProtocolError(f"'{client}' is another's name", Reason.NOT_AUTHORIZED)
        if old is None and len(self.sessions) >= self.limits.max_sessions:
            raise ProtocolError("too many sessions", Reason.QUOTA)
        if old is not None and old.outlet is not None:
            previous = old.outlet
            self.detach(old, previous, now)
            previous.end(Reason.TAKEN_OVER)
            old = self.sessions.get(client)
        if old is not None and (connect.is_clean or _is_over(old, now)):
            self._forget(old, now)
            old = None
        session = old or Session(client, user, self.limits)
        self.sessions[client] = session
        session.outlet, session.will = outlet, will
        session.ends_at = session.will_at = None
        self.set_expiry(session, _number(connect, Property.SESSION_EXPIRY, 0))
        session.receive_maximum = _number(connect, Property.RECEIVE_MAXIMUM, 0xFFFF)
        session.max_packet_bytes = _number(connect, Property.MAX_PACKET, NEVER)
        return session, old is not None

    def set_expiry(self, session: Session, wanted_s: int) -> None:
        """How long the session outlives the connection."""
        session.expiry_s = min(wanted_s, self.limits.max_session_s)

    def detach(self, session: Session, outlet: Outlet, now: float) -> None:
        """The connection has ended; without a will if the session has none by now."""
        if session.outlet is not outlet:
            return
        session.outlet = None
        session.ends_at = now + session.expiry_s
        if session.will is not None:
            delay_s = session.will.properties.get(Property.WILL_DELAY, 0)
            assert isinstance(delay_s, int)
            session.will_at = now + min(delay_s, session.expiry_s)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Publish the wills and forget the sessions whose time has come."""
        for session in list(self.sessions.values()):
            if session.will_at is not None and session.will_at <= now:
                self._publish_will(session, now)
            if _is_over(session, now):
                self._forget(session, now)

    def publish(self, session: Session | None, packet: Publish, now: float) -> bool:
        """To everybody who wants it. False when ``session``'s user may not. Raises ProtocolError
        for a topic that is none."""
        check_topic(packet.topic)
        if session is not None and not self.rules.may_publish(session.user, packet.topic):
            return False
        self._route(None if session is None else session.client, packet, now)
        return True

    def subscribe(self, session: Session, one: Subscription, now: float) -> int:
        """The QoS that is granted, or why not. Retained messages follow by ``send_retained``."""
        if not filters.is_filter(one.filter):
            return Reason.BAD_FILTER
        if one.filter.startswith("$share/"):
            return Reason.NO_SHARED
        if not self.rules.may_subscribe(session.user, one.filter):
            return Reason.NOT_AUTHORIZED
        is_new = one.filter not in session.subscriptions
        if is_new and len(session.subscriptions) >= self.limits.max_subscriptions:
            return Reason.QUOTA
        session.subscriptions[one.filter] = replace(one, qos=min(one.qos, 1))
        return min(one.qos, 1)

    def send_retained(self, session: Session, one: Subscription, is_new: bool, now: float) -> None:
        """What is kept of a filter's topics."""
        if one.retain_handling == 2 or (one.retain_handling == 1 and not is_new):
            return
        for topic, kept in list(self._retained.items()):
            if kept.is_over(now):
                self._drop_retained(topic)
            elif filters.matches(one.filter, topic):
                qos = min(one.qos, kept.message.qos)
                delivery = Delivery(kept.message, qos, True, kept.expires_at, kept.size_bytes)
                session.offer(delivery, now)

    def _route(self, publisher: str | None, packet: Publish, now: float) -> None:
        expiry_s = packet.properties.get(Property.MESSAGE_EXPIRY)
        expires_at = now + expiry_s if isinstance(expiry_s, int) else None
        passed = {key: packet.properties[key] for key in packet.properties if key in MESSAGE}
        passed.pop(Property.MESSAGE_EXPIRY, None)
        message = replace(packet, id=0, is_duplicate=False, properties=passed)
        size_bytes = size_of(message)
        if packet.is_retained:
            self._retain(_Kept(message, expires_at, size_bytes), now)
        for session in list(self.sessions.values()):
            wanted = session.wanted(packet.topic, session.client == publisher)
            if wanted:
                qos = min(packet.qos, max(one.qos for one in wanted))
                is_retained = packet.is_retained and any(one.is_as_published for one in wanted)
                session.offer(Delivery(message, qos, is_retained, expires_at, size_bytes), now)

    def _retain(self, kept: _Kept, now: float) -> None:
        """Without room for the new, the old goes too: nothing is better than what is not true."""
        topic = kept.message.topic
        self._drop_retained(topic)
        if not kept.message.payload:
            return
        if not self._has_room(kept.size_bytes):
            for name in [name for name, one in self._retained.items() if one.is_over(now)]:
                self._drop_retained(name)
        if self._has_room(kept.size_bytes):
            self._retained[topic] = kept
            self._retained_bytes += kept.size_bytes

    def _has_room(self, size_bytes: int) -> bool:
        return (
            len(self._retained) < self.limits.max_retained
            and self._retained_bytes + size_bytes <= self.limits.max_retained_bytes
        )

    def _drop_retained(self, topic: str) -> None:
        old = self._retained.pop(topic, None)
        if old is not None:
            self._retained_bytes -= old.size_bytes

    def _check_will(self, user: str | None, will: Will) -> None:
        check_topic(will.topic)
        if will.qos > 1:
            raise ProtocolError("a will of QoS 2", Reason.NO_SUCH_QOS)
        if not self.rules.may_publish(user, will.topic):
            raise ProtocolError("its will is for a topic of others", Reason.NOT_AUTHORIZED)

    def _publish_will(self, session: Session, now: float) -> None:
        will, session.will, session.will_at = session.will, None, None
        if will is not None:
            message = Publish(
                will.topic,
                will.payload,
                will.qos,
                will.is_retained,
                properties={k: v for k, v in will.properties.items() if k in MESSAGE},
            )
            self._route(session.client, message, now)

    def _forget(self, session: Session, now: float) -> None:
        if self.sessions.get(session.client) is session:
            del self.sessions[session.client]
            self._publish_will(session, now)


def check_topic(topic: str) -> None:
    """Raises ProtocolError for a name to which nothing can be published."""
    if not filters.is_topic(topic):
        raise ProtocolError("a topic that cannot be", Reason.BAD_TOPIC)


def _is_over(session: Session, now: float) -> bool:
    return session.outlet is None and session.ends_at is not None and session.ends_at <= now


def _number(connect: Connect, key: Property, default: int) -> int:
    value = connect.properties.get(key, default)
    assert isinstance(value, int)
    return value
