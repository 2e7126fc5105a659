from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from runtime.autoscale.reading import Counted, Reading, read
from runtime.autoscale.sample import Load, Replica, Sample

NAN = float("nan")
HOSTILE = st.floats() | st.sampled_from([NAN, math.inf, -math.inf, -1.0, 1e308, 1e999, 0.0])


def replica(name: str, load: Load | None, *, started_s: float = 0.0) -> Replica:
    return Replica(name, started_s, started_s + 2.0, load)


def two_looks(first: Load | None, second: Load | None, span_s: float = 2.0) -> Reading:
    _, counted = read(Sample(10.0, (replica("a", first),)), {})
    return read(Sample(10.0 + span_s, (replica("a", second),)), counted)[0]


def test_rates_are_what_the_counters_grew_by() -> None:
    found = two_looks(Load(1.0, 0.1, 100.0, 90.0, 5.0), Load(3.0, 0.2, 120.0, 108.0, 6.0))
    assert found.answered_rps == 9.0
    assert found.missed_rps == 0.5
    assert found.arrived_rps == 11.0  # 20 ended, and 2 more are in flight
    assert (found.in_flight, found.drain_s, found.unknown) == (3.0, 0.2, 0)


def test_the_first_look_knows_no_rate() -> None:
    found, _ = read(Sample(10.0, (replica("a", Load(2.0, 0.1, 1000.0)),)), {})
    assert found.arrived_rps is None
    assert found.in_flight == 2.0


def test_counters_that_fell_began_anew() -> None:
    found = two_looks(Load(9.0, 0.1, 1000.0, 1000.0), Load(0.0, 0.0, 10.0, 10.0))
    assert found.answered_rps == 0.0 or found.answered_rps == 5.0
    assert found.arrived_rps == 5.0


def test_who_does_not_answer_is_taken_to_do_what_the_others_do() -> None:
    loads = (Load(4.0, 0.1), Load(2.0, 0.3), None, None)
    found, _ = read(Sample(1.0, tuple(replica(str(i), x) for i, x in enumerate(loads))), {})
    assert found.in_flight == 12.0
    assert found.unknown == 2
    assert not found.is_blind


def test_when_none_answers_it_is_blind() -> None:
    found, _ = read(Sample(1.0, (replica("a", None), replica("b", None))), {})
    assert found.is_blind
    assert found.arrived_rps is None


def test_who_was_silent_for_a_while_is_counted_over_all_of_it() -> None:
    _, counted = read(Sample(10.0, (replica("a", Load(0.0, 0.0, 100.0)),)), {})
    _, counted = read(Sample(11.0, (replica("a", None),)), counted)
    found, _ = read(Sample(12.0, (replica("a", Load(0.0, 0.0, 120.0)),)), counted)
    assert found.arrived_rps == 10.0


def test_a_start_is_told_once() -> None:
    starting = Sample(10.0, (Replica("a", 9.0),))
    found, counted = read(starting, {})
    assert (found.starting, found.ready, found.starts_s) == (1, 0, ())
    found, counted = read(Sample(12.0, (Replica("a", 9.0, 11.5, Load(0.0, 0.0)),)), counted)
    assert found.starts_s == (2.5,)
    found, counted = read(Sample(13.0, (Replica("a", 9.0, 11.5, Load(0.0, 0.0)),)), counted)
    assert found.starts_s == ()


def test_who_has_gone_is_forgotten() -> None:
    _, counted = read(Sample(1.0, (replica("a", Load(0.0, 0.0)), replica("b", Load(0.0, 0.0)))), {})
    assert set(counted) == {"a", "b"}
    _, counted = read(Sample(2.0, (replica("b", Load(0.0, 0.0)),)), counted)
    assert set(counted) == {"b"}


@given(st.lists(st.tuples(*[HOSTILE] * 5), max_size=4), HOSTILE, HOSTILE, HOSTILE)
def test_no_number_that_a_replica_says_reaches_a_reading_unless_it_can_be(
    numbers: list[tuple[float, ...]], at_s: float, ready_s: float, started_s: float
) -> None:
    replicas = tuple(
        Replica(str(i), started_s, ready_s, Load(*values)) for i, values in enumerate(numbers)
    )
    counted: dict[str, Counted] = {}
    for _ in range(2):
        found, counted = read(Sample(at_s, replicas), counted)
        for value in (found.in_flight, found.drain_s, found.arrived_rps, found.answered_rps):
            assert value is None or (math.isfinite(value) and value >= 0.0)
        assert all(math.isfinite(took) and took >= 0.0 for took in found.starts_s)
        assert found.unknown == sum(not Load(*values).is_sane for values in numbers)
