"""What probes say of health."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.keeping.probing import Probing, after_probe, due, health, healthy_s, is_due
from edge.messages.desired import Probe

PROBE = Probe(interval_s=10, failures=3, start_s=60)
BAD = "no answer"


def after(*probes: tuple[float, str | None]) -> Probing:
    """Of one that was started at 0, after probes at these times."""
    state = Probing(0.0)
    for now, error in probes:
        state = after_probe(state, PROBE, error, now)
    return state


def test_failures_within_the_start_do_not_count() -> None:
    state = after((1, BAD), (20, BAD), (30, BAD), (59, BAD))
    assert (health(state, PROBE), state.failures, state.error) == ("starting", 0, BAD)


def test_failures_in_a_row_make_it_unhealthy_and_one_success_heals() -> None:
    assert health(after((61, BAD), (71, BAD)), PROBE) == "starting"
    assert health(after((61, BAD), (71, BAD), (81, BAD)), PROBE) == "unhealthy"
    state = after((61, BAD), (71, BAD), (81, BAD), (91, None))
    assert health(state, PROBE) == "healthy"
    assert healthy_s(state, 100) == 9


def test_a_single_failure_is_no_break_of_health() -> None:
    state = after((1, None), (61, BAD), (71, BAD), (81, None))
    assert (health(state, PROBE), healthy_s(state, 90)) == ("healthy", 89)
    broken = after((1, None), (61, BAD), (71, BAD), (81, BAD))
    assert (health(broken, PROBE), healthy_s(broken, 90)) == ("unhealthy", 0)


def test_one_that_starts_is_asked_more_often() -> None:
    assert due(after(), PROBE) == 0
    assert due(after((1, BAD)), PROBE) == 1.25
    assert due(after((1, None)), PROBE) == 11
    assert due(after((1, None), (61, BAD)), PROBE) == 71


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans())), st.builds(
    Probe,
    interval_s=st.floats(0, 100),
    failures=st.integers(-1, 5),
    start_s=st.floats(0, 100),
))  # fmt: skip
def test_health_is_what_the_last_probes_say(probes: list[tuple[float, bool]], probe: Probe) -> None:
    state, row = Probing(0.0), 0
    for now, is_well in sorted(probes):
        state = after_probe(state, probe, None if is_well else BAD, now)
        row = 0 if is_well or now < probe.start_s else row + 1
        assert (health(state, probe) == "unhealthy") == (row >= max(1, probe.failures))
        assert (health(state, probe) == "healthy") == (healthy_s(state, now + 1) > 0)
        assert due(state, probe) > now
        assert not is_due(state, probe, now)
