from __future__ import annotations

from edge.hub.inbox import Bounds, Inbox, Parcel
from edge.topics import REPORTED, TELEMETRY


def parcel(device: str = "a", size: int = 10, kind: str = TELEMETRY) -> Parcel:
    return Parcel(device, kind, b"x" * size)


def test_what_comes_is_taken_in_order_and_up_to_a_bound() -> None:
    inbox = Inbox()
    sent = [parcel(str(number)) for number in range(5)]
    assert all(inbox.offer(one) for one in sent)
    assert inbox.take(25, 100, 0) == sent[:3]
    assert inbox.take(1000, 1, 0) == sent[3:4]
    assert inbox.take(1000, 100, 0) == sent[4:]
    assert inbox.take(1000, 100, 0) == []
    assert inbox.size_bytes() == 0


def test_devices_take_turns_and_each_keeps_its_order() -> None:
    inbox = Inbox()
    loud = [parcel("a", number) for number in range(1, 6)]
    others = [parcel("b", 1), parcel("c", 1), parcel("b", 2)]
    assert all(inbox.offer(one) for one in [*loud, *others])
    assert inbox.take(1000, 4, 0) == [loud[0], others[0], others[1], loud[1]]
    assert inbox.take(1000, 100, 0) == [others[2], *loud[2:]]


def test_a_loud_device_leaves_room_for_others() -> None:
    inbox = Inbox(Bounds(device_bytes=25, device_parcels=3))
    assert [inbox.offer(parcel("a")) for _ in range(3)] == [True, True, False]
    assert [inbox.offer(parcel("b", 1)) for _ in range(4)] == [True, True, True, False]
    inbox.take(1000, 1, 0)
    assert inbox.offer(parcel("a"))


def test_it_is_bounded_in_all() -> None:
    inbox = Inbox(Bounds(size_bytes=25))
    assert [inbox.offer(parcel(str(n))) for n in range(3)] == [True, True, False]
    for _ in range(2):
        assert len(inbox.take(1000, 100, 0)) == 2
        assert [inbox.offer(parcel(str(n))) for n in range(3)] == [True, True, False]
    inbox = Inbox(Bounds(parcels=2))
    for _ in range(2):
        assert [inbox.offer(parcel(str(n))) for n in range(3)] == [True, True, False]
        assert len(inbox.take(1000, 100, 0)) == 2


def test_telemetry_takes_no_room_from_reports_which_go_first() -> None:
    inbox = Inbox(Bounds(parcels=1))
    assert inbox.offer(parcel())
    assert not inbox.offer(parcel())
    report = parcel(kind=REPORTED)
    assert inbox.offer(report)
    assert inbox.take(1000, 100, 0) == [report, parcel()]


def test_a_closed_one_takes_nothing_and_gives_what_it_has() -> None:
    inbox = Inbox()
    inbox.offer(parcel())
    inbox.close()
    assert not inbox.offer(parcel())
    assert inbox.take(1000, 100, 60) == [parcel()]
    assert inbox.take(1000, 100, 60) == []
