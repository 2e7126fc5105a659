from __future__ import annotations

import pytest

from edge.errors import ConflictError, InvalidSpecError, NotFoundError
from edge.hub import devices
from edge.hub.database import Database, changes
from edge.hub.telemetry import totals
from edge.messages import codec
from edge.messages.reported import HostReport, OutboxReport, Reported
from edge.messages.status import Status
from tests.edge.hub.fakes import NOW_MS, batch
from tests.edge.hub.test_ingest import numbers, put


def status(epoch: int, *, online: bool = True, life: str = "x", device: str = "a") -> Status:
    return Status(codec.VERSION, device, epoch, online=online, life=life)


def reported(epoch: int, number: int, device: str = "a") -> Reported:
    host = HostReport(1, 2, 3, 4, 0.5, 60.0, "boot")
    return Reported(codec.VERSION, device, epoch, number, 0, 0, (), host, OutboxReport(0, 0))


def keep(database: Database, message: Status | Reported, now_ms: int = NOW_MS) -> bool:
    payload = codec.encode(message)
    with database.writer() as connection:
        if isinstance(message, Status):
            return devices.keep_status(connection, message, payload, now_ms)
        return devices.keep_reported(connection, message, payload, now_ms)


def get(database: Database, name: str = "a") -> devices.Device:
    with database.reader() as connection:
        return devices.get(connection, name)


def test_a_birth_brings_a_device_online_and_its_will_takes_it_off(database: Database) -> None:
    assert not get(database).is_online
    assert keep(database, status(3))
    found = get(database)
    assert (found.is_online, found.epoch, found.last_seen_ms) == (True, 3, NOW_MS)
    assert found.status == status(3)
    assert keep(database, status(3, online=False), NOW_MS + 60_000)
    found = get(database)
    assert not found.is_online
    assert found.last_seen_ms == NOW_MS, "the broker said that, not the device"
    assert found.status == status(3), "what it said of itself is kept"


def test_a_late_will_of_an_earlier_start_is_ignored(database: Database) -> None:
    keep(database, status(4))
    assert not keep(database, status(3, online=False))
    assert get(database).is_online


def test_a_late_birth_of_an_earlier_start_is_ignored(database: Database) -> None:
    keep(database, status(4))
    keep(database, status(4, online=False))
    assert not keep(database, status(3))
    assert not get(database).is_online


def test_a_device_that_was_set_up_anew_is_believed(database: Database) -> None:
    keep(database, status(40))
    keep(database, reported(40, 7))
    assert keep(database, status(1, life="another"))
    assert keep(database, reported(1, 1))
    assert get(database).epoch == 1
    assert not keep(database, status(0, online=False, life="another"))


def test_only_a_newer_report_is_kept(database: Database) -> None:
    assert keep(database, reported(2, 5))
    for epoch, number in ((2, 5), (2, 4), (1, 9)):
        assert not keep(database, reported(epoch, number))
    assert get(database).reported == reported(2, 5)
    assert keep(database, reported(3, 1))
    assert get(database).reported == reported(3, 1)


def test_one_that_is_enrolled_again_begins_anew_and_keeps_its_tags(database: Database) -> None:
    devices.set_tags(database, "a", {"site": "north"})
    keep(database, reported(9, 9))
    devices.enrol(database, "a", now_ms=NOW_MS + 1)
    assert keep(database, reported(1, 1))
    assert get(database).tags == {"site": "north"}
    devices.enrol(database, "a", now_ms=NOW_MS + 2, tags={})
    assert get(database).tags == {}


def test_tags_are_added_changed_and_removed(database: Database) -> None:
    devices.set_tags(database, "a", {"site": "north", "line": "1"})
    devices.set_tags(database, "a", {"line": "2", "old": ""}, remove=("site", "unknown"))
    assert get(database).tags == {"line": "2", "old": ""}


def test_every_change_is_told_to_the_running_hub(database: Database) -> None:
    def counts() -> tuple[int, int]:
        with database.reader() as connection:
            found = changes(connection)
        return found["devices"], found["desired"]

    before = counts()
    devices.enrol(database, "c", now_ms=NOW_MS)
    devices.set_tags(database, "c", {"x": "y"})
    assert counts() == (before[0] + 2, before[1] + 2)
    devices.remove(database, "c")
    assert counts()[0] == before[0] + 3


def test_who_is_removed_leaves_nothing(database: Database) -> None:
    put(database, batch(1, 3))
    put(database, batch(1, 2), device="b")
    devices.remove(database, "a")
    assert numbers(database, "a") == []
    assert numbers(database, "b") == [1, 2]
    with database.reader() as connection:
        assert [one.name for one in devices.list_devices(connection)] == ["b"]
        assert totals(connection)["records"] == 2
        assert connection.execute("SELECT count(*) FROM streams").fetchone()[0] == 1


def test_who_is_not_enrolled_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError):
        get(database, "nobody")
    with pytest.raises(NotFoundError):
        devices.remove(database, "nobody")
    with pytest.raises(NotFoundError):
        devices.set_tags(database, "nobody", {})


@pytest.mark.parametrize("name", ["", "A", "a/b", "+", "#", "a..b", "x" * 64, "a\n"])
def test_names_that_cannot_be_a_topic_are_refused(database: Database, name: str) -> None:
    with pytest.raises(InvalidSpecError):
        devices.enrol(database, name, now_ms=NOW_MS)


def test_tags_have_bounds(database: Database) -> None:
    for tags in ({"": "x"}, {"a\n": "x"}, {"a": "x" * 200}):
        with pytest.raises(InvalidSpecError):
            devices.set_tags(database, "a", tags)
    with pytest.raises(ConflictError):
        devices.set_tags(database, "a", {str(n): "" for n in range(100)})


def test_what_can_be_read_no_more_is_as_if_never_said(database: Database) -> None:
    with database.writer() as connection:
        connection.execute("UPDATE devices SET status = x'00', reported = x'00'")
    found = get(database)
    assert (found.status, found.reported) == (None, None)
