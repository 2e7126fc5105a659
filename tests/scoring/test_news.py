"""What server processes tell each other of inputs that kill."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring import news
from scoring.quarantine import Died, Quarantine, Survived, fingerprint
from scoring.supervision.link_messages import MAX_PAYLOAD_BYTES

A, B = fingerprint(b"a"), fingerprint(b"b")


def test_others_take_what_one_tells() -> None:
    quarantine = Quarantine()
    payload = news.pack(7, [Died(A, True), Died(A, True), Died(B, False), Survived(B)])
    news.take(payload, 8, quarantine)
    assert quarantine.is_quarantined(A)
    assert not quarantine.is_suspect(B)


def test_nobody_counts_his_own_news_twice() -> None:
    quarantine = Quarantine()
    told = quarantine.died(A, alone=True)
    news.take(news.pack(7, [told]), 7, quarantine)
    assert not quarantine.is_quarantined(A)
    news.take(news.pack(7, [told]), 8, quarantine)
    assert quarantine.is_quarantined(A)


@given(st.binary(max_size=60))
def test_what_is_no_news_is_passed_over(payload: bytes) -> None:
    quarantine = Quarantine()
    news.take(payload, 7, quarantine)
    assert quarantine.is_empty


@pytest.mark.parametrize("cut", range(1, 12))
def test_cut_news_are_passed_over(cut: int) -> None:
    quarantine = Quarantine()
    news.take(news.pack(7, [Died(A, True)])[:-cut], 8, quarantine)
    assert quarantine.is_empty


def test_the_supervisor_remembers_a_death_and_tells_it() -> None:
    supervisor, process = Quarantine(), Quarantine()
    for body, was_alone in ((b"a", False), (b"a", True)):
        payload = news.judge([body, b"b"] if not was_alone else [body], was_alone, supervisor)
        assert payload is not None
        news.take(payload, 7, process)
        news.take(payload, 0, supervisor)  # its own: not again
    for quarantine in (supervisor, process):
        assert quarantine.is_quarantined(A)
        assert quarantine.is_suspect(B)
        assert not quarantine.is_quarantined(B)


def test_a_process_that_died_idle_accuses_nobody() -> None:
    quarantine = Quarantine()
    assert news.judge([], True, quarantine) is None
    assert quarantine.is_empty


def test_the_largest_news_fit_a_payload() -> None:
    payload = news.judge([b"%d" % number for number in range(5000)], False, Quarantine())
    assert payload is not None
    assert len(payload) <= MAX_PAYLOAD_BYTES
