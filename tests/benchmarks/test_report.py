"""The page of results, and the ratios in it."""

from __future__ import annotations

from benchmarks.drive import Sample
from benchmarks.outcome import Finding, Outcome
from benchmarks.rates import Rounds, Scenario
from benchmarks.report import render

JSON = Scenario("json", 32)


def test_the_page_says_what_was_reached_and_what_was_not_measured() -> None:
    findings = [Finding("a", ">= 1", "2", True), Finding("b", ">= 1", "0", False)]
    findings.append(Finding("c", ">= 1", "-", None))
    page = render([Outcome("small", findings, notes=["said"])], "make bench", "a machine")
    assert "| a | >= 1 | 2 | reached |" in page
    assert "| b | >= 1 | 0 | **not reached** |" in page
    assert "| c | >= 1 | - | not measured |" in page
    assert "## Digits" in page
    assert "- said" in page


def test_a_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    def rates(*found: float | None) -> dict[int, Sample]:
        return {i: Sample(rate, 1, 1, 1, 0) for i, rate in enumerate(found) if rate is not None}

    rounds = Rounds({("ours", JSON): rates(10, 40, 30), ("theirs", JSON): rates(5, 10, None)})
    assert rounds.ratio("ours", JSON, "theirs") == 3.0  # of 2 and 4; the third has no partner
    assert rounds.ratio("ours", JSON, "nobody") is None
    assert rounds.median("ours", JSON, "rate") == 30
