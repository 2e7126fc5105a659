"""Who has which place, under any course of changes."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.balance import Balance, Replica, Service, Version, configuration
from runtime.balance.layout import LANES, SLOTS, Layout, arranged


def balance(*versions: Version) -> Balance:
    return Balance((Service("a", 80, versions),))


def version(name: str, *ports: int) -> Version:
    return Version(name, 1, tuple(Replica("127.0.0.1", port) for port in ports))


def owners(layout: Layout) -> list[str | None]:
    return [lane.version.name if lane.version else None for lane in layout.services[0].lanes]


def test_what_stays_keeps_its_place_and_what_is_new_takes_a_free_one() -> None:
    first = arranged(balance(version("v1", 1, 2), version("v2", 3)))
    assert owners(first) == ["v1", "v2", None, None]
    second = arranged(balance(version("v3", 4), version("v2", 5, 3)), first)
    assert owners(second) == [None, "v2", "v3", None]  # not the place that was just left
    slots = second.services[0].lanes[1].slots
    assert [slot and slot.port for slot in slots[:3]] == [3, 5, None]


def test_a_slot_that_is_left_now_or_still_works_is_not_given_away() -> None:
    first = arranged(balance(version("v1", *range(1, SLOTS + 1))))
    assert len(first.services[0].lanes[0].slots) == SLOTS
    second = arranged(balance(version("v1", *range(2, SLOTS + 2))), first)
    assert len(second.services[0].lanes[0].slots) == 2 * SLOTS
    third = arranged(balance(version("v1", *range(2, SLOTS + 3))), second, {("a", 0, 0)})
    placed = third.services[0].lanes[0].slots
    assert placed[0] is None
    fourth = arranged(balance(version("v1", *range(2, SLOTS + 4))), third)
    assert fourth.services[0].lanes[0].slots[0] == Replica("127.0.0.1", SLOTS + 3)


def test_usual_changes_leave_the_shape_as_it_is() -> None:
    layout = arranged(balance(version("v1", 1)))
    shape = configuration.shape(layout)
    for number in range(2, 30):
        now = version(f"v{number}", number)
        before = version(f"v{number - 1}", number - 1)
        for versions in ((before, now), (now,)):
            layout = arranged(balance(*versions), layout)
            assert configuration.shape(layout) == shape
    assert configuration.shape(arranged(Balance((Service("a", 81),)), layout)) != shape


courses = st.lists(
    st.dictionaries(st.integers(0, 6), st.sets(st.integers(1, 20), max_size=6), max_size=5),
    max_size=6,
)


@settings(deadline=None, max_examples=50)
@given(courses)
def test_everybody_has_one_place_and_nobody_moves(course: list[dict[int, set[int]]]) -> None:
    layout: Layout | None = None
    before: dict[tuple[str, tuple[str, int]], tuple[int, int]] = {}
    for step in course:
        chosen = random.Random(str(step))
        versions = [version(f"v{n}", *sorted(ports)) for n, ports in step.items()]
        chosen.shuffle(versions)
        layout = arranged(balance(*versions), layout)
        lanes = layout.services[0].lanes
        assert len(lanes) >= LANES
        assert len({len(lane.slots) for lane in lanes}) == 1
        now = {}
        for at, lane in enumerate(lanes):
            assert lane.version is not None or not any(lane.slots)
            for slot, replica in enumerate(lane.slots):
                if replica is not None and lane.version is not None:
                    now[lane.version.name, replica.place] = (at, slot)
        assert now.keys() == {(v.name, replica.place) for v in versions for replica in v.replicas}
        assert len(set(now.values())) == len(now)
        stayed = before.keys() & now.keys()
        assert {one: now[one] for one in stayed} == {one: before[one] for one in stayed}
        assert not {now[one] for one in now.keys() - stayed} & set(before.values())
        before = now


def test_a_layout_is_kept_on_disk_as_it_is() -> None:
    layout = arranged(balance(version("v1", 1), version("v2")))
    assert msgspec.json.decode(msgspec.json.encode(layout), type=Layout) == layout
