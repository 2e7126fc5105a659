"""Changes of scale are told when they begin and how they end, once each."""

from __future__ import annotations

from itertools import count

import pytest

from runtime.autoscale.change import After, Before, Change
from runtime.autoscale.decision import Cause, Decision
from runtime.deployments.changes import LONGEST_S, Changes, Nobody


class Heard(Nobody):
    """``is_let``: whether changes may begin."""

    def __init__(self) -> None:
        self.all: list[Change] = []
        self.is_let = True

    def begins(self, change: Before) -> bool:
        if change not in self.all:
            self.all.append(change)
        return self.is_let

    def ended(self, change: After) -> None:
        self.all.append(change)

    def said(self) -> list[tuple[str, int, int, str]]:
        return [
            (
                each.change,
                each.from_replicas,
                each.to_replicas,
                "begins" if isinstance(each, Before) else each.outcome.value,
            )
            for each in self.all
        ]


def changes(heard: Heard) -> Changes:
    numbers = count(1)
    return Changes("web", heard, wall=lambda: 1.8e9, token=lambda: f"c{next(numbers)}")


def to(replicas: int, cause: Cause = Cause.MORE) -> Decision:
    return Decision(replicas, "why", cause)


def test_one_begins_and_is_through_when_its_replicas_are_there() -> None:
    heard = Heard()
    one = changes(heard)
    assert one.asked(to(3), 1, 10.0, ready=1) == 3
    assert one.asked(to(3), 3, 11.0, ready=1) == 3  # decided again, which changes nothing
    one.look(is_there=False, ready=2, trouble=None, now_s=12.0)
    one.look(is_there=True, ready=3, trouble=None, now_s=14.5)
    one.look(is_there=True, ready=3, trouble=None, now_s=15.0)
    assert heard.said() == [("c1", 1, 3, "begins"), ("c1", 1, 3, "done")]
    done = heard.all[-1]
    assert isinstance(done, After)
    assert (done.took_s, done.ready_replicas, done.error) == (4.5, 3, None)
    assert (done.cause, done.why, done.deployment) == (Cause.MORE, "why", "web")


def test_another_decision_replaces_one_that_is_not_through() -> None:
    heard = Heard()
    one = changes(heard)
    scale = one.asked(to(3), 1, 10.0)
    assert one.asked(to(5), scale, 11.0) == 5
    one.look(is_there=True, ready=5, trouble=None, now_s=12.0)
    assert heard.said() == [
        ("c1", 1, 3, "begins"),
        ("c2", 3, 5, "begins"),
        ("c1", 1, 3, "replaced"),
        ("c2", 3, 5, "done"),
    ]


def test_one_that_takes_too_long_has_failed_and_says_why() -> None:
    heard = Heard()
    one = changes(heard)
    one.asked(to(3), 1, 10.0)
    one.look(is_there=False, ready=1, trouble="no memory", now_s=9.0 + LONGEST_S)
    assert len(heard.all) == 1
    one.look(is_there=False, ready=1, trouble="no memory", now_s=10.0 + LONGEST_S)
    failed = heard.all[-1]
    assert isinstance(failed, After)
    assert (failed.outcome.value, failed.error, failed.ready_replicas) == ("failed", "no memory", 1)


def test_a_listener_may_hold_it_back_and_the_scale_stays() -> None:
    heard = Heard()
    heard.is_let = False
    one = changes(heard)
    assert one.asked(to(3), 1, 10.0) == 1
    assert one.asked(to(3), 1, 11.0) == 1
    assert one.asked(to(4), 1, 12.0) == 1
    heard.is_let = True
    assert one.asked(to(2), 1, 13.0) == 3  # as it was asked about, though the need moved
    assert heard.said() == [("c1", 1, 3, "begins")]


@pytest.mark.parametrize(
    ("scale", "first", "then", "most"),
    [
        (2, 4, 1, None),  # it has turned
        (2, 6, 4, 4),  # so many are not declared any more
        (5, 2, 3, None),  # it would leave too few
    ],
)
def test_what_is_held_back_gives_way_to_what_must_be_another(
    scale: int, first: int, then: int, most: int | None
) -> None:
    heard = Heard()
    heard.is_let = False
    one = changes(heard)
    one.asked(to(first), scale, 10.0)
    assert one.asked(to(then), scale, 11.0, most=most) == scale
    assert [each[2:] for each in heard.said()] == [
        (first, "begins"),
        (first, "replaced"),
        (then, "begins"),
    ]


def test_what_is_held_back_and_no_longer_decided_ends_too() -> None:
    heard = Heard()
    heard.is_let = False
    one = changes(heard)
    one.asked(to(3), 1, 10.0)
    assert one.asked(to(1, Cause.STEADY), 1, 11.0) == 1
    assert [each[3] for each in heard.said()] == ["begins", "replaced"]


def test_the_end_of_the_deployment_is_the_end_of_its_changes() -> None:
    heard = Heard()
    one = changes(heard)
    one.asked(to(3), 1, 10.0)
    for _ in range(2):
        one.stop("it is deleted", ready=0, now_s=11.0)
    assert [each[3] for each in heard.said()] == ["begins", "failed"]


def test_without_a_listener_scales_change_all_the_same() -> None:
    assert Changes("web").asked(to(3), 1, 0.0) == 3
