"""Whatever the network and the hub do: every record once, or in a gap; and for few bytes."""

from __future__ import annotations

import pytest

from edge.outbox.uplink_policy import MAX_BYTES, MIN_BYTES, QUICK_S
from tests.edge.outbox.lossy import DAY_S, World


def _fill(world: World, count: int, stream: int = 1, size: int = 60) -> dict[int, bytes]:
    """Bodies that do not shrink much."""
    found = {}
    for _ in range(count):
        body = b'"' + world.dice.randbytes(size // 2).hex().encode() + b'"'
        found[world.box.append(stream, body)] = body
    return found


def test_all_arrives_once_over_a_good_network() -> None:
    world = World(1)
    appended = _fill(world, 3000)
    world.connect()
    world.drain(60)
    world.hub.check(("life-1", 1), appended)
    assert world.uplink.resent == 0
    assert world.hub.gaps[("life-1", 1)] == []


@pytest.mark.parametrize("seed", range(30))
def test_each_record_once_or_in_a_gap_whatever_happens(seed: int) -> None:
    world = World(seed, jitter_s=0.4, lose=0.08, repeat=0.1, bytes_per_s=50_000)
    appended: dict[tuple[str, int], dict[int, bytes]] = {}
    snapshots = [world.hub.copy()]
    dice = world.dice
    world.connect()
    for _ in range(80):
        stream = dice.randrange(4)
        appended.setdefault((world.box.life, stream), {}).update(
            _fill(world, dice.randrange(60), stream)
        )
        what = dice.random()
        if what < 0.12:
            world.cut()
        elif what < 0.16:
            world.restart_device()
        elif what < 0.22:
            world.is_hub_up = False
        elif what < 0.26:
            snapshots.append(world.hub.copy())
        elif what < 0.29:
            world.hub = dice.choice(snapshots).copy()  # its database was restored
        elif what < 0.35:
            world.box.drop_oldest(stream, dice.randrange(40))
        world.run(dice.random() * 6)
        if not world.is_connected and dice.random() < 0.7:
            world.connect()
        if not world.is_hub_up and dice.random() < 0.5:
            world.hub_back()
    if not world.is_connected:
        world.connect()
    world.hub_back()
    world.lose = 0.02
    world.drain(1500)
    for stream in range(4):  # what a restored database forgot is told with the next batch
        appended.setdefault((world.box.life, stream), {}).update(_fill(world, 2, stream))
    world.drain(1500)
    for key, bodies in appended.items():
        world.hub.check(key, bodies)


def test_a_new_life_begins_with_its_own_numbers() -> None:
    world = World(3)
    first = _fill(world, 50)
    world.connect()
    world.drain(60)
    world.box.begin_life()
    second = _fill(world, 20)
    world.drain(60)
    world.hub.check(("life-1", 1), first)
    world.hub.check(("life-2", 1), second)


def test_nothing_is_sent_before_the_hub_has_said_what_it_has() -> None:
    world = World(4)
    _fill(world, 10)
    world.is_hub_up = False
    world.connect()
    world.run(25)
    assert world.wire_bytes == 0
    world.hub_back()
    world.drain(2)


def test_a_hub_that_never_answers_births_is_told_all_the_same() -> None:
    world = World(5)
    _fill(world, 10)
    world.connect()
    world._events.clear()
    world.drain(60)


def test_what_is_more_important_goes_before_what_waits() -> None:
    world = World(6, bytes_per_s=4000)
    _fill(world, 8000, stream=3)
    world.connect()
    world.run(60)
    assert not world.uplink.is_empty()
    _fill(world, 1, stream=0)
    before = len(world.hub.arrived)
    world.run(30)
    arrived = [stream for stream, _, _ in world.hub.arrived[before:]]
    assert 0 in arrived[:8]
    assert arrived.index(0) * 4096 / 4000 < 15
    assert world.uplink._window.limit_bytes <= 16 * 1024


def test_a_quick_link_is_used() -> None:
    world = World(7, delay_s=0.5, bytes_per_s=10e6)
    _fill(world, 20_000)
    world.connect()
    world.drain(30)
    assert MIN_BYTES < world.uplink._window.limit_bytes <= MAX_BYTES
    assert world.uplink.resent == 0
    assert world.delay_s * 2 < QUICK_S


@pytest.mark.parametrize("bytes_per_s", [500, 2_000, 20_000])
def test_a_slow_link_does_not_make_it_send_again(bytes_per_s: int) -> None:
    world = World(8, delay_s=0.3, bytes_per_s=bytes_per_s)
    _fill(world, 3000)
    world.connect()
    world.drain(3000)
    payload = 3000 * 60
    assert world.wire_bytes < 1.5 * payload


def test_a_day_without_a_hub_costs_little() -> None:
    world = World(9)
    _fill(world, 5000)
    world.connect()
    world.run(5)
    world.is_hub_up = False
    before = world.wire_bytes
    world.run(DAY_S)
    assert world.wire_bytes - before < 2 * 1024 * 1024
    world.hub_back()
    world.drain(30)


def test_a_network_that_reorders_and_repeats_makes_no_storm() -> None:
    world = World(10, jitter_s=1.5, repeat=0.5, bytes_per_s=100_000)
    _fill(world, 10_000)
    world.connect()
    world.drain(2000)
    assert world.wire_bytes < 4 * 10_000 * 60


def test_a_connection_that_is_cut_again_and_again_comes_on() -> None:
    world = World(11, bytes_per_s=20_000)
    _fill(world, 4000)
    for _ in range(200):
        world.connect()
        world.run(2.0)
        world.cut()
        world.run(0.5)
        if world.uplink.is_empty():
            break
    assert world.uplink.is_empty()
    assert world.wire_bytes < 4 * 4000 * 60


def test_no_day_costs_more_than_it_may() -> None:
    world = World(12, bytes_per_day=20_000)
    _fill(world, 1200)
    world.connect()
    for _ in range(4 * 3):
        world.run(DAY_S / 3)
        world.restart_device()  # in no good order: what it had noted counts
        world.connect()
    assert max(world.by_day.values()) <= 20_000 * 1.15
    assert world.uplink.is_empty()
    assert len(world.by_day) == 3


def test_a_record_that_is_larger_than_a_day_stands_in_no_way() -> None:
    world = World(13, bytes_per_day=2_000)
    _fill(world, 1, stream=3, size=20_000)
    world.connect()
    world.run(3 * DAY_S)
    _fill(world, 5, stream=3)
    world.drain(3 * DAY_S)


def test_an_answer_that_is_none_is_passed_over() -> None:
    world = World(14)
    _fill(world, 10)
    for payload in (
        b"",
        b"{",
        b"[" * 5000,
        b'{"v":1,"life":"other","streams":[[1,5]],"time_ms":1}',
    ):
        world.uplink.on_ack(payload)
    world.connect()
    world.drain(60)
