"""Which inputs run alone, and which not at all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from scoring.quarantine import Quarantine, Survived, fingerprint

marks = st.sampled_from([fingerprint(bytes([n])) for n in range(6)])
A, B = fingerprint(b"a"), fingerprint(b"b")


def test_two_deaths_the_last_one_alone_quarantine_an_input() -> None:
    quarantine = Quarantine()
    assert quarantine.is_empty
    assert not quarantine.is_suspect(A)
    quarantine.died(A, alone=False)
    assert (quarantine.is_empty, quarantine.is_suspect(A)) == (False, True)
    assert not quarantine.is_quarantined(A)
    quarantine.died(A, alone=True)
    assert quarantine.is_quarantined(A)
    assert not quarantine.is_suspect(B)


def test_deaths_in_company_alone_never_quarantine() -> None:
    quarantine = Quarantine()
    for _ in range(5):
        quarantine.died(A, alone=False)
    assert not quarantine.is_quarantined(A)
    quarantine.died(A, alone=True)
    assert quarantine.is_quarantined(A)


def test_an_innocent_neighbour_is_cleared_by_its_next_run() -> None:
    quarantine = Quarantine()
    quarantine.died(A, alone=False)
    quarantine.died(B, alone=False)
    assert quarantine.survived(B) == Survived(B)
    assert not quarantine.is_suspect(B)
    quarantine.died(A, alone=True)
    assert quarantine.survived(A) is None  # a copy of it that had started before
    assert quarantine.is_quarantined(A)


def test_all_is_forgotten_an_hour_after_the_last_death() -> None:
    now = 0.0
    quarantine = Quarantine(forget_s=3600, clock=lambda: now)
    quarantine.died(A, alone=True)
    now = 1800
    quarantine.died(A, alone=True)
    now = 5399
    assert quarantine.is_quarantined(A)
    now = 5400
    assert not quarantine.is_quarantined(A)
    assert quarantine.is_empty


def test_the_input_that_died_the_longest_ago_makes_room() -> None:
    quarantine = Quarantine(limit=2)
    for mark in (A, B, A, fingerprint(b"c")):
        quarantine.died(mark, alone=True)
    assert (quarantine.is_quarantined(A), quarantine.is_suspect(B)) == (True, False)
    assert len(quarantine) == 2


def test_a_fingerprint_knows_where_its_parts_end() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")
    assert fingerprint(b"abc") == fingerprint(b"abc")
    assert len(fingerprint(b"abc")) == 16


@settings(max_examples=50)
@given(st.lists(st.tuples(marks, st.booleans() | st.none())))
def test_a_process_that_is_told_knows_the_same(events: list[tuple[bytes, bool | None]]) -> None:
    here, there = Quarantine(), Quarantine()
    for mark, alone in events:
        told = here.survived(mark) if alone is None else here.died(mark, alone=alone)
        if told is not None:
            there.apply(told)
    for mark, _ in events:
        assert here.is_suspect(mark) == there.is_suspect(mark)
        assert here.is_quarantined(mark) == there.is_quarantined(mark)
    assert here.is_empty == there.is_empty


class Histories(RuleBasedStateMachine):
    """Against a plain list of what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.quarantine = Quarantine(limit=4, forget_s=10, clock=lambda: self.now)
        self.deaths: list[tuple[bytes, bool, float]] = []

    @rule(mark=marks, alone=st.booleans())
    def die(self, mark: bytes, alone: bool) -> None:
        self.quarantine.died(mark, alone=alone)
        self.deaths.append((mark, alone, self.now))
        recent = list(dict.fromkeys(mark for mark, _, _ in reversed(self.deaths)))[:4]
        self.deaths = [death for death in self.deaths if death[0] in recent]

    @rule(mark=marks)
    def survive(self, mark: bytes) -> None:
        was_quarantined = self.quarantine.is_quarantined(mark)
        self.quarantine.survived(mark)
        if not was_quarantined:
            self.deaths = [death for death in self.deaths if death[0] != mark]

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        alive = {mark for mark, _, at in self.deaths if at > self.now - 10}
        self.deaths = [death for death in self.deaths if death[0] in alive]

    @invariant()
    def answers_follow_from_the_history(self) -> None:
        for mark in {death[0] for death in self.deaths} | {A}:
            of_mark = [alone for found, alone, _ in self.deaths if found == mark]
            assert self.quarantine.is_suspect(mark) == bool(of_mark)
            expected = len(of_mark) >= 2 and of_mark[-1]
            assert self.quarantine.is_quarantined(mark) == expected
        assert len(self.quarantine) == len({death[0] for death in self.deaths}) <= 4
        assert self.quarantine.is_empty == (not self.deaths)


test_histories = Histories.TestCase
test_histories.settings = settings(max_examples=20, stateful_step_count=25)
