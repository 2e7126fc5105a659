"""Counters of places that replicas take one after the other."""

from __future__ import annotations

from runtime.deployments.evidence import Answers
from runtime.deployments.tally import Reading, Tally, begun_anew, counted

PLACE = ("web.0", "s1")


def test_only_what_came_since_counts_and_a_new_process_counts_from_zero() -> None:
    tally = counted(Tally(), {PLACE: Reading(1, 500, 5)})
    assert tally.answers(1) == Answers()
    tally = counted(tally, {PLACE: Reading(1, 510, 6)})
    assert tally.answers(1) == Answers(10, 1)
    tally = counted(tally, {PLACE: Reading(2, 4, 0)})  # another process, another revision
    assert (tally.answers(1), tally.answers(2)) == (Answers(10, 1), Answers(4, 0))
    assert tally.answers(1, 2) == Answers(14, 1)
    assert counted(begun_anew(tally), {PLACE: Reading(2, 5, 0)}).answers(2) == Answers(1, 0)


def test_connections_that_failed_are_no_more_than_requests() -> None:
    tally = counted(Tally(), {PLACE: Reading(1, 0, 0)})
    assert counted(tally, {PLACE: Reading(1, 2, 9)}).answers(1) == Answers(2, 2)
