"""What the samples of a load test amount to."""

from __future__ import annotations

import pytest

from runtime.bench import Limits, Plan, Sample, Step, summary
from runtime.bench.histogram import bucket_of
from runtime.bench.sample import decoded, encoded, kind_of

ONE = Plan("http://h/score", (b"1",), (Step(2.0, 4),))
TWO = Plan("http://h/score", (b"1",), (Step(1.0, 4), Step(1.0, 8)))


def sample(step: int = 0, began_s: float = 0.0, **told: object) -> Sample:
    return Sample(step=step, began_s=began_s, seconds=1.0, **told)  # type: ignore[arg-type]


def times(**counts: int) -> dict[int, int]:
    """``times(ms1=5, ms20=1)``."""
    return {bucket_of(float(name[2:]) / 1000): count for name, count in counts.items()}


def test_a_step_has_the_samples_of_all_its_seconds() -> None:
    found = summary(
        ONE,
        [
            sample(answered=times(ms1=98), failed={"HTTP 500": 1}, cpu_s=0.25),
            sample(began_s=1.0, answered=times(ms1=100, ms20=2), shed=3, retry_after_s=2.0),
        ],
    )
    [step] = found.steps
    assert (step.requests, step.good, step.shed, step.errors) == (204, 200, 3, 1)
    assert step.rate == 100.0
    assert step.times_s[0.5] == pytest.approx(0.001, rel=0.03)
    assert step.longest_s == pytest.approx(0.020, rel=0.03)
    assert step.retry_after_s == 2.0
    assert step.client_share == 0.125
    assert [moment.rate for moment in found.moments] == [98.0, 102.0]


def test_what_was_shed_is_no_error() -> None:
    found = summary(ONE, [sample(answered=times(ms1=1), shed=99)], Limits(max_error_share=0.0))
    assert found.complaints == ()


def test_limits_are_of_each_step() -> None:
    samples = [
        sample(0, answered=times(ms1=100)),
        sample(1, answered=times(ms50=98), failed={"HTTP 500": 2}),
    ]
    found = summary(TWO, samples, Limits(max_error_share=0.01, max_p99_s=0.02))
    assert len(found.complaints) == 2
    assert "2 of 100 requests failed in the step of 8 users" in found.complaints[0]
    assert "p99 was" in found.complaints[1]
    assert summary(TWO, samples, Limits(0.02, 0.1)).complaints == ()


def test_a_test_in_which_nothing_was_answered_is_never_good() -> None:
    for samples in ([], [sample(failed={"connection refused": 5})], [sample(shed=5)]):
        assert summary(ONE, samples).complaints == ("no request was answered",)


def test_a_step_that_was_not_reached_is_left_out() -> None:
    found = summary(TWO, [sample(0, answered=times(ms1=1))])
    assert len(found.steps) == 1


@pytest.mark.parametrize(
    ("told", "is_limit"),
    [
        ({"cpu_s": 0.97}, True),
        ({"cpu_s": 0.4, "starved_s": 0.3}, True),
        ({"cpu_s": 0.5, "starved_s": 0.05}, False),
    ],
)
def test_a_sender_without_more_cpu_is_the_limit(told: dict[str, float], is_limit: bool) -> None:
    [step] = summary(ONE, [sample(answered=times(ms1=1), **told)]).steps  # type: ignore[arg-type]
    assert step.is_client_the_limit is is_limit


def test_a_rate_that_was_not_sent_is_noticed() -> None:
    plan = Plan("http://h/score", (b"1",), (Step(1.0, 4, 100.0),))
    for good, is_missed in ((100, False), (50, True)):
        [step] = summary(plan, [sample(answered=times(ms1=good))]).steps
        assert step.is_rate_missed is is_missed


def test_a_line_that_is_not_whole_is_no_sample() -> None:
    whole = encoded(sample(answered={3: 4}, failed={"HTTP 500": 1}))
    assert decoded(whole) == sample(answered={3: 4}, failed={"HTTP 500": 1})
    assert all(decoded(whole[:cut]) is None for cut in range(len(whole)))
    assert decoded(b'{"step": "x"}\n') is None


def test_shed_load_says_when_to_come_back() -> None:
    assert kind_of(200, False) is None
    assert kind_of(429, True) == "shed"
    assert kind_of(429, False) == "HTTP 429 without Retry-After"
    assert kind_of(503, True) == "HTTP 503"
    assert kind_of(302, False) == "HTTP 302"
