from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from edge import topics
from edge.errors import HubError, InvalidSpecError
from edge.hub import command_queue, devices
from edge.hub.database import Database, mark_desired
from edge.hub.inbox import Bounds
from edge.hub.port import Chore
from edge.hub.service import HubService
from edge.hub.telemetry import Query, records
from edge.link.port import Message
from edge.messages import codec
from edge.messages.commands import Command, Reply
from edge.messages.desired import Desired
from edge.messages.telemetry import Ack, StreamAck
from tests.edge.hub.fakes import NOW_MS, FakeLink, batch, packed, wait_for
from tests.edge.hub.test_batch import HOSTILE
from tests.edge.hub.test_devices import reported, status


@dataclass
class Wanted:
    """Desired states, as a rollout would have them."""

    states: dict[str, Desired] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def __call__(self, connection: sqlite3.Connection, device: str, /) -> Desired | None:
        if device in self.broken:
            raise InvalidSpecError("it cannot be")
        return self.states.get(device)

    def set(self, database: Database, device: str, version: int) -> None:
        self.states[device] = Desired(codec.VERSION, device, version)
        with database.writer() as connection:
            mark_desired(connection, [device])


@dataclass
class Hub:
    database: Database
    link: FakeLink
    service: HubService
    wanted: Wanted

    def acks(self, device: str) -> list[Ack]:
        sent = self.link.of(device, topics.ACK)
        return [codec.decode(message.payload, Ack) for message in sent]

    def versions(self, device: str) -> list[int]:
        sent = self.link.of(device, topics.DESIRED)
        assert all(message.is_retained for message in sent)
        return [codec.decode(message.payload, Desired).version for message in sent]

    def commands(self, device: str) -> list[str]:
        sent = self.link.of(device, topics.COMMAND)
        return [codec.decode(message.payload, Command).id for message in sent]

    def refused(self, reason: str) -> float:
        return self.service.counters.get("refused_total", reason)

    def seqs(self, device: str) -> list[int]:
        with self.database.reader() as connection:
            return [one.seq for one in records(connection, Query(device=device)).records]

    def device(self, name: str) -> devices.Device:
        with self.database.reader() as connection:
            return devices.get(connection, name)


@contextmanager
def running(database: Database, bounds: Bounds | None = None, *chores: Chore) -> Iterator[Hub]:
    link, wanted = FakeLink(), Wanted()
    service = HubService(
        database, link, wanted, chores=chores, bounds=bounds, now_ms=lambda: NOW_MS, watch_s=0.01
    )
    service.start()
    try:
        yield Hub(database, link, service, wanted)
    finally:
        service.stop()


@pytest.fixture
def hub(database: Database) -> Iterator[Hub]:
    with running(database) as hub:
        hub.link.connect()
        yield hub


def test_it_hears_what_devices_say_and_nothing_else(hub: Hub) -> None:
    assert set(hub.link.subscriptions) == {
        "edge/+/status", "edge/+/up/reported", "edge/+/up/telemetry", "edge/+/up/reply",
    }  # fmt: skip
    for topic in ("edge/a/down/desired", "edge/a/other", "other/a/status", "edge//status"):
        hub.link.arrive_on(Message(topic, b"{}"))
    assert hub.refused("topic") == 4


def test_telemetry_is_acknowledged_with_the_time_once_it_is_stored(hub: Hub) -> None:
    hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 3)), mono="12345")
    (ack,) = wait_for(lambda: hub.acks("a"))
    assert ack == Ack(codec.VERSION, "life", [StreamAck(0, 3)], NOW_MS, 12345)
    assert hub.seqs("a") == [1, 2, 3]
    assert hub.device("a").last_seen_ms == NOW_MS


def test_batches_of_many_devices_share_a_commit(database: Database) -> None:
    for number in range(50):
        devices.enrol(database, f"d{number}", now_ms=NOW_MS)
    with running(database) as hub:
        with closing(database.connect()) as other:
            other.execute("BEGIN IMMEDIATE")  # as the command line does
            for number in range(50):
                hub.link.arrive(f"d{number}", topics.TELEMETRY, packed(batch(1, 2)))
            other.execute("ROLLBACK")
        hub.link.connect()
        wait_for(lambda: all(hub.acks(f"d{number}") for number in range(50)))
        assert hub.service.counters.get("commits_total") <= 5


@pytest.mark.parametrize("mono", ["", "-1", "x", "9" * 30, "١٢", "1.5"])
def test_an_echo_that_cannot_be_is_left_out(hub: Hub, mono: str) -> None:
    hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 3)), mono=mono)
    (ack,) = wait_for(lambda: hub.acks("a"))
    assert ack.echo_ms is None


def test_hostile_payloads_stop_neither_the_hub_nor_a_neighbour(hub: Hub) -> None:
    for number, (_, make) in enumerate(HOSTILE.values(), 1):
        hub.link.arrive("b", topics.TELEMETRY, make())
        hub.link.arrive("a", topics.TELEMETRY, packed(batch(number, number)))
    wait_for(lambda: hub.seqs("a") == list(range(1, len(HOSTILE) + 1)))
    counts = {reason: hub.refused(reason) for reason in ("malformed", "numbers", "life")}
    assert sum(counts.values()) + hub.refused("too large") == len(HOSTILE)
    assert hub.seqs("b") == []
    assert hub.service.is_healthy


def test_a_message_that_no_check_foresaw_harms_only_itself(hub: Hub) -> None:
    with hub.database.writer() as connection:
        connection.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON streams WHEN NEW.life = 'bad'"
            " BEGIN SELECT RAISE(ABORT, 'unforeseen'); END"
        )
    with closing(hub.database.connect()) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(1, 4):
            hub.link.arrive("a", topics.TELEMETRY, packed(batch(number, number)))
            hub.link.arrive("b", topics.TELEMETRY, packed(batch(1, 1, life="bad")))
        other.execute("ROLLBACK")
    wait_for(lambda: hub.seqs("a") == [1, 2, 3])
    wait_for(lambda: hub.refused("unforeseen") == 3)
    assert hub.service.is_healthy


def test_what_inflates_to_much_is_stored_in_several_steps(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.hub.receiving.GROUP_PLAIN_BYTES", 150)
    with hub.database.writer():
        for number in range(1, 10):
            hub.link.arrive("a", topics.TELEMETRY, packed(batch(number, number)))
    wait_for(lambda: hub.seqs("a") == list(range(1, 10)))
    wait_for(lambda: hub.service.counters.get("commits_total") >= 4)


def test_only_who_is_enrolled_is_heard_also_who_comes_later(hub: Hub) -> None:
    hub.link.arrive("new", topics.TELEMETRY, packed(batch(1, 3)))
    hub.link.arrive("new", topics.STATUS, status(1, device="new"))
    wait_for(lambda: hub.refused("unknown device") == 2)
    devices.enrol(hub.database, "new", now_ms=NOW_MS)
    hub.link.arrive("new", topics.TELEMETRY, packed(batch(1, 3)))
    wait_for(lambda: hub.acks("new"))
    devices.remove(hub.database, "new")
    hub.link.arrive("new", topics.TELEMETRY, packed(batch(4, 5)))
    wait_for(lambda: hub.refused("unknown device") == 3)


def test_nobody_speaks_for_another(hub: Hub) -> None:
    hub.link.arrive("a", topics.STATUS, status(1, device="b"))
    hub.link.arrive("a", topics.REPORTED, reported(1, 1, device="b"))
    wait_for(lambda: hub.refused("device") == 2)
    assert hub.device("b").reported is None
    assert not hub.device("b").is_online


def test_numbers_that_no_database_holds_are_refused(hub: Hub) -> None:
    hub.link.arrive("a", topics.STATUS, status(10**30))
    hub.link.arrive("a", topics.REPORTED, reported(1, 10**30))
    hub.link.arrive("a", topics.REPORTED, reported(-1, 1))
    wait_for(lambda: hub.refused("numbers") == 3)
    assert hub.service.is_healthy


def test_a_birth_is_answered_with_all_that_the_hub_has(hub: Hub) -> None:
    hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 3)))
    hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 5, stream=2)))
    wait_for(lambda: len(hub.seqs("a")) == 8)
    hub.link.arrive("a", topics.STATUS, status(2, life="life"), mono="77")
    wait_for(lambda: hub.device("a").is_online)
    last = wait_for(lambda: [ack for ack in hub.acks("a") if ack.echo_ms == 77])[-1]
    assert last.streams == [StreamAck(0, 3), StreamAck(2, 5)]


def test_a_birth_of_an_unknown_outbox_is_told_the_time(hub: Hub) -> None:
    hub.link.arrive("a", topics.STATUS, status(2, life=""))
    (ack,) = wait_for(lambda: hub.acks("a"))
    assert (ack.life, ack.streams, ack.time_ms) == ("", [], NOW_MS)


def test_a_will_and_an_old_will(hub: Hub) -> None:
    hub.link.arrive("a", topics.STATUS, status(2))
    wait_for(lambda: hub.device("a").is_online)
    hub.link.arrive("a", topics.STATUS, status(1, online=False))
    wait_for(lambda: hub.service.counters.get("stale_total", topics.STATUS) == 1)
    assert hub.device("a").is_online
    hub.link.arrive("a", topics.STATUS, status(2, online=False))
    wait_for(lambda: not hub.device("a").is_online)


def test_reports_are_kept_and_an_empty_retained_message_is_nothing(hub: Hub) -> None:
    hub.link.arrive("a", topics.REPORTED, b"")
    hub.link.arrive("a", topics.REPORTED, reported(1, 2))
    hub.link.arrive("a", topics.REPORTED, reported(1, 1))
    wait_for(lambda: hub.service.counters.get("stale_total", topics.REPORTED) == 1)
    assert hub.device("a").reported == reported(1, 2)
    assert hub.refused("malformed") == 0


def test_a_desired_state_is_published_when_it_changes(hub: Hub) -> None:
    hub.wanted.set(hub.database, "a", 1)
    wait_for(lambda: hub.versions("a") == [1])
    with hub.database.writer() as connection:
        mark_desired(connection)  # nothing has changed
    hub.wanted.set(hub.database, "b", 7)
    wait_for(lambda: hub.versions("b") == [7])
    hub.wanted.set(hub.database, "a", 2)
    wait_for(lambda: hub.versions("a") == [1, 2])


def test_desired_states_are_published_again_to_a_broker_that_may_have_lost_them(hub: Hub) -> None:
    hub.wanted.set(hub.database, "a", 1)
    wait_for(lambda: hub.versions("a") == [1])
    hub.link.is_connected = False
    hub.link.connect()
    wait_for(lambda: hub.versions("a") == [1, 1])


def test_a_desired_state_that_the_link_does_not_take_goes_out_later(database: Database) -> None:
    with running(database) as hub:
        hub.wanted.set(database, "a", 1)
        hub.wanted.set(database, "a", 2)
        hub.link.room = 0
        hub.link.connect()
        hub.wanted.set(database, "a", 3)
        hub.link.room = 100
        wait_for(lambda: hub.versions("a")[-1:] == [3])


def test_a_device_whose_state_cannot_be_made_does_not_hold_up_others(hub: Hub) -> None:
    hub.wanted.broken.add("a")
    hub.wanted.set(hub.database, "a", 1)
    hub.wanted.set(hub.database, "b", 1)
    wait_for(lambda: hub.versions("b") == [1])
    assert hub.versions("a") == []


def test_what_the_broker_keeps_of_a_removed_device_is_taken_away(hub: Hub) -> None:
    hub.wanted.set(hub.database, "a", 1)
    wait_for(lambda: hub.versions("a") == [1])
    devices.remove(hub.database, "a")
    for kind in (topics.DESIRED, topics.STATUS, topics.REPORTED):
        last = wait_for(lambda kind=kind: hub.link.of("a", kind)[-1:])[0]  # type: ignore[misc]
        wait_for(lambda kind=kind: hub.link.of("a", kind)[-1].payload == b"")  # type: ignore[misc]
        assert last.is_retained


def test_a_command_goes_out_with_its_expiry_and_its_reply_comes_back(hub: Hub) -> None:
    id = command_queue.send(hub.database, "a", "ping", now_ms=NOW_MS, expires_s=30)
    wait_for(lambda: hub.commands("a") == [id])
    assert hub.link.of("a", topics.COMMAND)[0].expiry_s == 30
    assert not hub.link.of("a", topics.COMMAND)[0].is_retained
    hub.link.arrive("a", topics.REPLY, Reply(codec.VERSION, id, True, "pong"))
    assert command_queue.wait(hub.database, id, timeout_s=10).text == "pong"


def test_commands_are_sent_again_after_a_reconnect_and_a_birth_until_they_end(hub: Hub) -> None:
    id = command_queue.send(hub.database, "a", "ping", now_ms=NOW_MS, expires_s=30)
    expired = command_queue.send(hub.database, "a", "ping", now_ms=NOW_MS - 60_000, expires_s=30)
    wait_for(lambda: hub.commands("a") == [id])
    hub.link.connect()
    wait_for(lambda: hub.commands("a") == [id, id])
    hub.link.arrive("a", topics.STATUS, status(2))
    wait_for(lambda: hub.commands("a") == [id, id, id])
    hub.link.arrive("a", topics.REPLY, Reply(codec.VERSION, id, False, error="no"))
    assert command_queue.wait(hub.database, id, timeout_s=10).ok is False
    hub.link.connect()
    hub.link.arrive("a", topics.STATUS, status(3))
    wait_for(lambda: hub.device("a").epoch == 3)
    hub.link.arrive("a", topics.STATUS, status(4), is_retained=True)
    wait_for(lambda: hub.device("a").epoch == 4)
    assert expired not in hub.commands("a")
    assert hub.commands("a") == [id, id, id]


def test_replies_to_what_was_not_asked_are_refused(hub: Hub) -> None:
    id = command_queue.send(hub.database, "a", "ping", now_ms=NOW_MS)
    hub.link.arrive("b", topics.REPLY, Reply(codec.VERSION, id, True, "forged"))
    hub.link.arrive("a", topics.REPLY, Reply(codec.VERSION, "none", True))
    hub.link.arrive("a", topics.REPLY, b"{}")
    wait_for(lambda: hub.refused("command") == 2 and hub.refused("malformed") == 1)


def test_acknowledgements_wait_for_the_link_and_are_the_newest(database: Database) -> None:
    with running(database) as hub:
        for first in (1, 4, 7):
            hub.link.arrive("a", topics.TELEMETRY, packed(batch(first, first + 2)))
            wait_for(lambda first=first: len(hub.seqs("a")) == first + 2)  # type: ignore[misc]
        assert hub.acks("a") == []
        hub.link.connect()
        assert [ack.streams for ack in wait_for(lambda: hub.acks("a"))] == [[StreamAck(0, 9)]]


def test_what_finds_no_room_is_dropped_and_counted_and_taken_when_it_comes_again(
    database: Database,
) -> None:
    with running(database, Bounds(device_parcels=2)) as hub:
        hub.link.connect()
        with database.writer():
            for number in range(1, 60):
                hub.link.arrive("a", topics.TELEMETRY, packed(batch(number, number)))
        assert hub.service.counters.get("dropped_total", "too slow") >= 50
        stored = wait_for(lambda: [ack.streams[0].seq for ack in hub.acks("a")])[-1]
        wait_for(lambda: hub.service.inbox.size_bytes() == 0)
        for number in range(stored + 1, 60):
            hub.link.arrive("a", topics.TELEMETRY, packed(batch(number, number)))
            wait_for(lambda number=number: number in hub.seqs("a"))  # type: ignore[misc]
        assert hub.seqs("a") == list(range(1, 60))


def test_a_database_that_cannot_be_written_acknowledges_nothing_and_recovers(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise HubError("the disk is full")

    monkeypatch.setattr("edge.hub.receiving.PAUSE_S", 0.01)

    with monkeypatch.context() as patch:
        patch.setattr("edge.hub.ingest.store", full)
        hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 3)))
        wait_for(lambda: hub.service.counters.get("dropped_total", "commit") == 1)
        assert not hub.service.is_healthy
    hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 3)))
    wait_for(lambda: hub.seqs("a") == [1, 2, 3])
    wait_for(lambda: hub.service.is_healthy)
    wait_for(lambda: hub.acks("a"))
    assert [ack.streams for ack in hub.acks("a")] == [[StreamAck(0, 3)]]


class Failing:
    name = "failing"
    interval_s = 0.01

    def __init__(self) -> None:
        self.runs = 0

    def run(self, now_ms: int) -> None:
        self.runs += 1
        assert now_ms == NOW_MS
        raise HubError("not now")


class Stuck:
    name = "stuck"
    interval_s = 0.01

    def __init__(self) -> None:
        self.is_freed = threading.Event()

    def run(self, now_ms: int) -> None:
        self.is_freed.wait(60)


def test_chores_that_fail_or_hang_stop_nothing(database: Database) -> None:
    failing, stuck = Failing(), Stuck()
    with running(database, None, failing, stuck) as hub:
        hub.link.connect()
        hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 3)))
        wait_for(lambda: hub.acks("a"))
        wait_for(lambda: failing.runs >= 3)
        assert hub.service.is_healthy
        stuck.is_freed.set()


def test_what_was_heard_before_a_stop_is_stored(database: Database) -> None:
    with running(database) as hub:
        hub.link.connect()
        for number in range(1, 30):
            hub.link.arrive("a", topics.TELEMETRY, packed(batch(number, number)))
        hub.service.stop()
        assert hub.seqs("a") == list(range(1, 30))
        assert hub.acks("a")[-1].streams == [StreamAck(0, 29)]
        assert hub.link.is_stopped
        hub.link.arrive("a", topics.TELEMETRY, packed(batch(30, 30)))
        assert not hub.service.is_healthy


KILLED = """
import sys, threading
from pathlib import Path
from edge import topics
from edge.hub.database import Database
from edge.hub.service import HubService
from edge.messages import codec
from edge.messages.telemetry import Ack
from tests.edge.hub.fakes import FakeLink, batch, packed

class Printing(FakeLink):
    def publish(self, message):
        if message.topic.endswith(topics.ACK):
            print(codec.decode(message.payload, Ack).streams[0].seq, flush=True)
        return True

link = Printing()
service = HubService(Database(Path(sys.argv[1])), link, lambda connection, device: None)
service.start()
link.connect()
number = 1
while True:
    while service.inbox.size_bytes() > 20_000:
        threading.Event().wait(0.001)
    link.arrive("a", topics.TELEMETRY, packed(batch(number, number + 9)))
    number += 10
"""


def test_what_was_acknowledged_is_there_after_a_kill(database: Database) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(database.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout]
    with database.reader() as connection:
        page = records(connection, Query(), limit=10**6)
    seqs = [one.seq for one in page.records]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= max(acknowledged) >= 200
    assert msgspec.json.decode(page.records[-1].body) == {"seq": seqs[-1]}
