"""Each device's desired state has a version that grows with each real change, and only then."""

import sqlite3
import time
from pathlib import Path

import pytest

from edge.hub import devices, publishing
from edge.layering import Layer
from edge.messages.desired import Limits, Restart, Settings, Update
from tests.edge.rollouts.small_hub import NEW, OLD, SmallHub, module


def marks(hub: SmallHub) -> dict[str, int]:
    with hub.database.reader() as connection:
        rows = connection.execute("SELECT name, desired_mark FROM devices").fetchall()
    return dict(rows)


def test_of_a_device_that_nobody_speaks_of_there_is_nothing(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.tick()
    hub.deployments.put(Layer("other", 'name == "b"', modules=(module(),)), by="ann")
    assert hub.desired("a") is None


def test_a_version_grows_with_each_change(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a", "b"])
    before = marks(hub)
    assert hub.deployments.put(Layer("all", modules=(module(),)), by="ann") == ["a", "b"]
    assert (hub.version("a"), hub.digest("a")) == (1, OLD)
    hub.deployments.put(Layer("all", modules=(module(digest=NEW),)), by="ann")
    assert (hub.version("a"), hub.digest("a")) == (2, NEW)
    assert all(mark > before[name] for name, mark in marks(hub).items())


def test_what_comes_to_the_same_is_no_new_version(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("all", modules=(module("x"), module("y"))), by="ann")
    before = marks(hub)
    same = Layer("all", modules=(module("y"), module("x")))
    assert hub.deployments.put(same, by="ann") == []
    assert hub.deployments.put(Layer("again", priority=9, modules=(module("x"),)), by="ann") == []
    assert hub.deployments.put(Layer("none", 'site == "x"', modules=(module("z"),)), by="b") == []
    assert hub.version("a") == 1
    assert marks(hub) == before


def test_a_default_in_so_many_words_is_no_change(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("all", modules=(module(),)), by="ann")
    wordy = module(limits=Limits(), update=Update(watch_s=30.0), restart=Restart(), env={}, order=0)
    hub.deployments.put(Layer("wordy", priority=1, modules=(wordy,)), by="ann")
    hub.deployments.delete("all", by="ann")
    assert hub.version("a") == 1


def test_a_device_that_gets_other_tags_gets_another_state(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("x", 'site == "x"', modules=(module(),)), by="ann")
    devices.set_tags(hub.database, "a", {"site": "x"})
    assert hub.tick() == ["a"]
    assert hub.tick() == []
    assert hub.digest("a") == OLD
    devices.set_tags(hub.database, "a", {}, remove=("site",))
    assert hub.tick() == ["a"]
    assert (hub.digest("a"), hub.version("a")) == (None, 2)


def test_a_device_that_comes_again_has_a_version_that_never_goes_back(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("all", modules=(module(),)), by="ann")
    devices.remove(hub.database, "a")
    hub.deployments.put(Layer("all", modules=(module(digest=NEW),)), by="ann")
    assert hub.version("a") == 1
    hub.enrol("a")
    hub.tick()
    assert (hub.version("a"), hub.digest("a")) == (2, NEW)


def test_a_conflict_keeps_what_the_device_had_and_is_told(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a", "b"])
    hub.deployments.put(Layer("one", modules=(module("x", port=80),)), by="ann")
    both = Layer("two", 'name == "a"', modules=(module("y", port=80),))
    assert hub.deployments.put(both, by="bob") == []
    assert hub.digest("a", "x") == OLD
    assert hub.digest("a", "y") is None
    conflict = "x and y both want port 80"
    assert hub.deployments.devices_in_error() == {"a": conflict}
    assert hub.deployments.device("a").error == conflict
    told = hub.deployments.ledger(device="a")
    assert [(entry.who, entry.what, entry.note) for entry in told] == [("bob", "refused", conflict)]
    hub.deployments.put(Layer("two", modules=(module("y", port=81),)), by="bob")
    assert hub.deployments.devices_in_error() == {}
    assert hub.digest("a", "y") == OLD


def test_a_state_too_large_to_send_is_refused(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    large = {f"V{index}": "x" * 4000 for index in range(7)}
    for index in range(10):
        layer = Layer(f"l{index}", modules=(module(f"m{index}", env=large),))
        hub.deployments.put(layer, by="ann")
    desired = hub.desired("a")
    assert desired is not None
    assert len(desired.modules) == 9
    assert "262144 are the most" in hub.deployments.devices_in_error()["a"]


def test_settings_alone_are_a_state_too(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("all", settings=Settings(report_s=5.0)), by="ann")
    desired = hub.desired("a")
    assert desired is not None
    assert desired.settings.report_s == 5.0


def test_history_tells_what_a_device_was_to_run_and_who_said_so(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("all", modules=(module(),)), by="ann")
    first_ms, hub.now_ms = hub.now_ms, hub.now_ms + 60_000
    hub.deployments.put(Layer("all", modules=(module(digest=NEW),)), by="bob")
    assert hub.deployments.at("a", first_ms - 1) is None
    then = hub.deployments.at("a", first_ms + 59_999)
    now = hub.deployments.at("a", hub.now_ms)
    assert then is not None
    assert now is not None
    assert (then.who, then.version, then.modules[0].digest) == ("ann", 1, OLD)
    assert (now.who, now.cause, now.modules[0].digest) == ("bob", "deployment all", NEW)
    assert hub.deployments.history("a") == [then, now]


@pytest.mark.parametrize("table", ["ledger", "history"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET who = 'nobody'"])
def test_what_was_written_down_stays(tmp_path: Path, table: str, statement: str) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("all", modules=(module(),)), by="ann")
    with pytest.raises(sqlite3.IntegrityError), hub.database.writer() as connection:
        connection.execute(statement.format(table))


@pytest.mark.slow
def test_a_thousand_devices_with_twenty_layers_take_less_than_a_second(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, [])
    with hub.database.writer() as connection:
        connection.executemany(
            "INSERT INTO devices (name, enrolled_at_ms, tags) VALUES (?, 0, ?)",
            [(f"d{index}", f'{{"site": "s{index % 10}"}}') for index in range(1000)],
        )
    for index in range(20):
        condition = f'site in ("s{index % 10}", "s{index % 7}") or name ~ "*{index % 10}"'
        layer = Layer(f"l{index}", condition, index, modules=(module(f"m{index % 8}"),))
        hub.deployments.put(layer, by="ann")
    everywhere = Layer("all", priority=99, modules=(module("m1", digest=NEW),))
    begin = time.perf_counter()
    assert len(hub.deployments.put(everywhere, by="ann")) == 1000
    assert time.perf_counter() - begin < 1.0
    with hub.database.reader() as connection:
        begin = time.perf_counter()
        assert publishing.changes(connection) == []
        assert time.perf_counter() - begin < 1.0
