"""The fitted cost of a batch: what it learns, what it forgets, and what cannot mislead it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.cost import OUTLIER, UNKNOWN_S, CostModel, ladder

DIGITS = 1e-6, 15e-6
CONVOLUTION = 1e-3, 0.0
ALL_SIZES = (1, 2, 4, 8, 16, 32)


class Machine:
    """Takes ``a * rows + b`` seconds, more or less."""

    def __init__(self, cost: tuple[float, float], noise: float = 0.1, seed: int = 0) -> None:
        self.cost = cost
        self.noise = noise
        self.model = CostModel()
        self._random = random.Random(seed)

    def run(self, rows: int) -> None:
        a, b = self.cost
        self.model.observe(rows, (a * rows + b) * self._random.lognormvariate(0, self.noise))

    def run_any(self, sizes: Sequence[int], times: int) -> None:
        for _ in range(times):
            self.run(self._random.choice(sizes))

    def serve(self, batches: int, *, rows: int = 1, probe_every: int = 64) -> int | None:
        """Traffic of one kind of request: merged while that pays, a pair now and then while it does
        not. Returns after how many batches that changed."""
        before = self.model.pays
        for number in range(batches):
            if self.model.pays:
                self.run(rows * self._random.choice((1, 4, 8, 16)))
            else:
                self.run(rows * (2 if number % probe_every == 0 else 1))
            if self.model.pays != before:
                return number
        return None


def test_before_anything_was_measured_a_request_is_assumed_slow_and_merging_not_to_pay() -> None:
    model = CostModel()
    assert not model.known
    assert model.seconds(7) == model.surely(7) == UNKNOWN_S
    assert not model.pays
    model.observe(1, 0.01)
    assert not model.pays, "one size says nothing"
    assert CostModel(pays=True).pays


@pytest.mark.parametrize("cost", [DIGITS, (1e-3, 3e-4), (1e-4, 1e-4)])
@pytest.mark.parametrize("seed", range(3))
def test_the_cost_is_found_through_noise(cost: tuple[float, float], seed: int) -> None:
    machine = Machine(cost, noise=0.1, seed=seed)
    machine.run_any(ALL_SIZES, 300)
    for rows in ALL_SIZES:
        assert machine.model.seconds(rows) == pytest.approx(cost[0] * rows + cost[1], rel=0.15)


@settings(max_examples=30)
@given(
    st.floats(1e-6, 1e-2),
    st.floats(0, 1e-2),
    st.lists(st.integers(1, 64), min_size=20, max_size=30).filter(
        lambda sizes: 1 in sizes and max(sizes) > 4
    ),
)
def test_without_noise_the_cost_is_exact(a: float, b: float, sizes: list[int]) -> None:
    model = CostModel()
    for rows in [1, 2, 4, 8] * 3:
        model.observe(rows, a * rows + b)
    for rows in sizes:
        model.observe(rows, a * rows + b)
    for rows in (1, 8, 64):
        assert model.seconds(rows) == pytest.approx(a * rows + b, rel=1e-3)
    assert model.gain == pytest.approx((a + b) / (a + b / 8), rel=1e-2)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1e3)), min_size=1))
def test_neither_part_is_ever_negative_whatever_is_measured(
    samples: list[tuple[int, float]],
) -> None:
    model = CostModel()
    for rows, seconds in samples:
        model.observe(rows, seconds)
        assert model.a >= 0
        assert model.b >= 0
        assert 0 < model.seconds(1) < float("inf")
        assert 1 <= model.gain <= 8 + 1e-9
        assert model.surely(3) >= model.seconds(3)


def test_one_batch_that_was_held_up_counts_as_a_slow_one_only() -> None:
    machine = Machine(DIGITS)
    machine.run_any(ALL_SIZES, 200)
    before = machine.model.seconds(8)
    machine.model.observe(8, 60.0)
    assert machine.model.seconds(8) < before * (1 + (OUTLIER - 1) * 0.1)
    machine.run_any(ALL_SIZES, 100)
    assert machine.model.seconds(8) == pytest.approx(DIGITS[0] * 8 + DIGITS[1], rel=0.2)


def test_a_first_batch_that_was_held_up_is_soon_forgotten() -> None:
    machine = Machine(DIGITS)
    machine.model.observe(1, 1.0)
    machine.run_any(ALL_SIZES, 600)
    assert machine.model.seconds(8) == pytest.approx(DIGITS[0] * 8 + DIGITS[1], rel=0.3)


@pytest.mark.parametrize("cost", [DIGITS, CONVOLUTION])
@pytest.mark.parametrize("speed", [0.3, 4.0])
def test_single_rows_tell_how_fast_it_is_and_leave_the_ratio(
    cost: tuple[float, float], speed: float
) -> None:
    machine = Machine(cost, noise=0.0)
    for rows in (*ALL_SIZES * 3, *[1] * 500):
        machine.run(rows)
    gain, pays = machine.model.gain, machine.model.pays
    machine.cost = cost[0] * speed, cost[1] * speed
    before = machine.model.seconds(1)
    for _ in range(3000):
        machine.run(1)
    assert machine.model.seconds(1) == pytest.approx(before * speed, rel=0.05)
    assert machine.model.gain == pytest.approx(gain, rel=0.02)
    assert machine.model.pays == pays


@pytest.mark.parametrize(
    ("cost", "pays"), [(DIGITS, True), ((1e-3, 3e-4), True), (CONVOLUTION, False)]
)
@pytest.mark.parametrize("seed", range(5))
def test_merging_is_on_where_it_pays_and_off_where_it_does_not_through_noise(
    cost: tuple[float, float], pays: bool, seed: int
) -> None:
    machine = Machine(cost, noise=0.1, seed=seed)
    machine.run_any(ALL_SIZES, 100)
    wrong = 0
    for _ in range(500):
        machine.run_any(ALL_SIZES, 1)
        wrong += machine.model.pays != pays
    assert wrong <= 10


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_merging_goes_off_when_the_cost_gets_linear(rows: int, seed: int) -> None:
    machine = Machine(DIGITS, seed=seed)
    for size in ladder(32) * 3:
        machine.run(size)
    assert machine.serve(500) is None
    machine.cost = CONVOLUTION
    went_off = machine.serve(500, rows=rows)
    assert went_off is not None
    assert went_off < 300


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_merging_comes_on_again_by_the_pairs_that_are_tried(rows: int, seed: int) -> None:
    """However long nothing but single requests was seen: their like do not wash out the pairs."""
    machine = Machine(CONVOLUTION, noise=0.02, seed=seed)
    for size in ladder(32) * 3:
        machine.run(size * rows)
    assert not machine.model.pays
    assert machine.serve(3000, rows=rows) is None
    machine.cost = 1e-5, 1e-3
    came_on = machine.serve(64 * 5, rows=rows)
    assert came_on is not None


def test_merging_does_not_flutter_between_its_two_bounds() -> None:
    model = CostModel()
    changes, before = 0, model.pays
    numbers = random.Random(3)
    for _ in range(2000):
        rows = numbers.choice(ALL_SIZES)
        b = 0.08e-3  # a gain of 7 %: between STOPS and PAYS
        model.observe(rows, (1e-3 * rows + b) * numbers.lognormvariate(0, 0.01))
        changes += model.pays != before
        before = model.pays
    assert changes <= 1


@settings(max_examples=30)
@given(st.integers(1, 500))
def test_the_sizes_worth_measuring_double_up_to_the_limit(limit: int) -> None:
    sizes = ladder(limit)
    assert sizes[0] == 1
    assert sizes[-1] <= min(limit, 32)
    assert all(after == 2 * before for before, after in itertools.pairwise(sizes))


def test_deadlines_are_promised_with_the_jitter_to_spare() -> None:
    steady, noisy = Machine(DIGITS, noise=0.0), Machine(DIGITS, noise=0.3)
    for machine in (steady, noisy):
        machine.run_any(ALL_SIZES, 300)
    assert steady.model.surely(8) == pytest.approx(steady.model.seconds(8), rel=0.01)
    assert noisy.model.surely(8) > noisy.model.seconds(8) * 1.2
