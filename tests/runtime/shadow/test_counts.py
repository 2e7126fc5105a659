"""What is counted, and how it is said."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.shadow import page
from runtime.shadow.counts import KEPT, Counts, Difference, Times, line
from scoring.watching.comparison import Comparison, Verdict, no_comparison

SINCE = "2026-11-27T08:00:00Z"


def counted() -> Counts:
    counts = Counts(SINCE)
    for _ in range(1201):
        counts.add(Comparison(Verdict.EQUAL), 0.010, 0.014)
    for size in (0.02, 0.01, math.inf):
        counts.add(Comparison(Verdict.DIFFERENT, "y", max_absolute=size), 0.010, 0.014)
    return counts


def test_the_verdict_is_one_line() -> None:
    counts = counted()
    assert line("revision 3", counts) == (
        "revision 3 as shadow: 1,204 copies, 1,201 equal, 3 different (largest 0.02), p99 1.4 x"
    )
    counts.fail("status 500, not 200")
    counts.drop("full", 4)
    counts.drop("absent")
    assert line("revision 3", counts) == (
        "revision 3 as shadow: 1,205 copies, 1,201 equal, 3 different (largest 0.02), 1 failed,"
        " 5 dropped, p99 1.4 x"
    )
    assert counts.dropped == {"full": 4, "absent": 1}
    assert line("r", Counts(SINCE)) == "r as shadow: 0 copies, 0 equal"


def test_few_answers_have_no_p99() -> None:
    counts = Counts(SINCE)
    for count in range(1, 101):
        counts.add(Comparison(Verdict.EQUAL), 0.01, 0.02)
        assert (counts.p99_ratio() is None) == (count < 100)


def test_close_is_equal_and_still_has_a_difference() -> None:
    counts = Counts(SINCE)
    counts.add(Comparison(Verdict.CLOSE, "y: close", max_absolute=1e-5), 0.01, 0.01)
    assert (counts.equal, counts.close, counts.different, counts.largest) == (1, 1, 0, 1e-5)


def test_a_failure_says_nothing_of_times() -> None:
    counts = Counts(SINCE)
    counts.add(no_comparison("status 500, not 200"), 0.01, 9.0)
    assert (counts.failed, counts.copied, counts.shadow.count) == (1, 1, 0)
    assert counts.last_failure == "status 500, not 200"
    assert counts.p99_ratio() is None


@settings(deadline=None)
@given(st.lists(st.floats(2e-5, 1000), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_within_4_percent(times: list[float], share: float) -> None:
    found = Times()
    for seconds in times:
        found.add(seconds)
    exact = sorted(times)[math.ceil(share * len(times)) - 1]
    quantile = found.quantile_s(share)
    assert quantile == pytest.approx(exact, rel=0.04)


def test_odd_times_are_kept_within_bounds() -> None:
    times = Times()
    for seconds in (0.0, 1e-9, 1e12):
        times.add(seconds)
    assert len(times.steps) == 2
    assert Times().quantile_s(0.5) is None


def test_only_the_last_differences_are_kept() -> None:
    counts = Counts(SINCE)
    for at in range(KEPT + 3):
        counts.keep(Difference(SINCE, f"{at}", f"{at:064x}", "1", "2"))
    assert [one.text for one in counts.differences] == [str(at) for at in range(3, KEPT + 3)]
    counts.keep(Difference(SINCE, "again", f"{KEPT:064x}", "1", "3"))
    assert [one.text for one in counts.differences] == ["3", "4", "6", "7", "again"]


def test_counts_come_back_as_they_were() -> None:
    counts = {"r3": counted()}
    counts["r3"].keep(Difference(SINCE, "y", "0" * 64, "1", "2"))
    again = page.decoded(page.encoded(counts))
    assert again == counts
    again["r3"].add(Comparison(Verdict.EQUAL), 0.01, 0.01)
    assert again["r3"].copied == 1205
    for data in (b"", b"{", b"[]", b'{"r3": {}}', b'{"r3": {"since": 1}}'):
        with pytest.raises(msgspec.MsgspecError):
            page.decoded(data)


def test_the_page_is_prometheus_text() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    counts = {"r3": counted(), "r4": Counts(SINCE)}
    counts["r3"].drop("full", 2)
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(
            page.metrics({"web": counts, "other": {"r1": Counts(SINCE)}})
        )
        for sample in family.samples
    }
    both = (("deployment", "web"), ("shadow", "r3"))
    equal = ("inferry_mirror_copies_total", both[0], ("result", "equal"), both[1])
    assert found[equal] == 1201
    dropped = ("inferry_mirror_dropped_total", both[0], ("reason", "full"), both[1])
    assert found[dropped] == 2
    assert found["inferry_mirror_largest_difference", *both] == 0.02
    p99 = ("inferry_mirror_answer_seconds", both[0], ("quantile", "0.99"), both[1])
    assert found[*p99, ("side", "shadow")] == pytest.approx(0.014, rel=0.04)


def test_the_page_has_two_places() -> None:
    assert page.answer("web", {}, "/counts").endswith(b"\r\n\r\n{}")
    assert page.answer("web", {}, "/metrics").startswith(b"HTTP/1.1 200 OK\r\n")
    assert page.answer("web", {}, "/").startswith(b"HTTP/1.1 404 ")
