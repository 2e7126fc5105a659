from __future__ import annotations

import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.autoscale import metrics_page
from runtime.autoscale.metrics_page import load_of
from runtime.autoscale.sample import Load
from scoring.metrics.exposition import render
from scoring.metrics.families import FAMILIES, Reason
from scoring.metrics.ledger import Ledger

PAGE = """\
# HELP inferry_answered_total Requests that a model answered
# TYPE inferry_answered_total counter
inferry_answered_total{model="digits",version="3"} 90.0
inferry_answered_total{model="other",version=""} 10.0
# TYPE inferry_rejected_total counter
inferry_rejected_total{model="digits",reason="full",version="3"} 4.0
inferry_rejected_total{model="digits",reason="deadline",version="3"} 3.0
inferry_rejected_total{model="digits",reason="bad-input",version="3"} 7.0
# TYPE inferry_failed_total counter
inferry_failed_total{kind="error",model="digits",version="3"} 1.0
# TYPE inferry_in_flight gauge
inferry_in_flight{model="digits",version="3"} 5.0
inferry_in_flight{model="other",version=""} 2.0
# TYPE inferry_expected_drain_seconds gauge
inferry_expected_drain_seconds{model="digits",version="3"} 0.25
inferry_expected_drain_seconds{model="other",version=""} 0.125
# TYPE inferry_metrics_unreadable gauge
inferry_metrics_unreadable 0.0
"""
IN_FLIGHT = 'inferry_in_flight{model="m",version=""} '


def test_all_models_of_a_replica_are_one_load() -> None:
    expected = Load(7.0, 0.25, ended_total=115.0, answered_total=100.0, missed_total=7.0)
    assert load_of(PAGE) == expected
    assert load_of(PAGE.encode()) == expected


def test_the_families_are_those_that_a_server_has() -> None:
    assert set(FAMILIES) >= metrics_page.FAMILIES
    assert set(get_args(Reason)) > metrics_page.MISSED_REASONS


def test_what_a_servers_own_ledger_renders_is_read() -> None:
    ledger = Ledger()
    ledger.gauge("inferry_in_flight", "digits:3", 2)
    ledger.gauge("inferry_expected_drain_seconds", "digits:3", 0.5)
    for reason in ("full", "deadline", "bad-input"):
        ledger.rejected("digits:3", reason)
    found = load_of(render([ledger.snapshot()]).body)
    assert found == Load(2.0, 0.5, ended_total=3.0, answered_total=0.0, missed_total=2.0)


@pytest.mark.parametrize(
    "value",
    [
        *("nan", "NaN", "+Inf", "-Inf", "1e999", "-1e999", "-1", "-0.001", "1e300", "9" * 400),
        *("0x10", "1_000", "", "one", '"', "1e", "--1", "1e12", "1" + "0" * 5000),
    ],
)
def test_a_number_that_no_server_has_makes_a_load_unknown(value: str) -> None:
    assert load_of(f"{IN_FLIGHT}{value}\n") is None
    assert load_of(PAGE + f"{IN_FLIGHT}{value}\n") is None


@pytest.mark.parametrize(
    "page",
    [
        "",
        "\n",
        "<html>502 Bad Gateway</html>\n",
        "Healthy\n",
        b"\xff\xfe\x00\n",
        b"\x00" * 1000,
        PAGE[:-1],
        PAGE[: PAGE.index("inferry_in_flight{")],
        IN_FLIGHT,
        f"{IN_FLIGHT}1",
        'inferry_in_flight{model="m\n',
        "inferry_in_flight{model='m'} 1\n",
        'inferry_in_flight{model="m",model="n"} 1\n',
        "inferry_in_flight{" + '"' * 3000 + "} 1\n",
        'inferry_in_flight{model="' + "x" * 5000 + '"} 1\n',
        "inferry_in_flight\n",
        f"{IN_FLIGHT}1\n" + "inferry_metrics_unreadable 1.0\n",
        "x" * (metrics_page.LARGEST_PAGE + 1),
        f"{IN_FLIGHT}1\n" * (metrics_page.MOST_LINES + 1),
    ],
)
def test_a_page_that_does_not_say_is_unknown_and_not_zero(page: str | bytes) -> None:
    assert load_of(page) is None


def test_strange_lines_of_other_families_do_no_harm() -> None:
    strange = 'other{"} nan nan\ninferry_in_flight_more{ x\n# TYPE\n# HELP {{{{ \n{}{}{}\n\x00\n'
    assert load_of(strange + PAGE) == load_of(PAGE)


def test_escapes_timestamps_and_spaces_are_read() -> None:
    page = 'inferry_in_flight{model="a\\"b\\\\ \\n}{",version=""}   3.5   1700000000000\n'
    assert load_of(page) == Load(3.5, 0.0)
    assert load_of('inferry_in_flight {model="a"} 5\n') == Load(5.0, 0.0)
    assert load_of("inferry_in_flight\t4\n") == Load(4.0, 0.0)


def test_a_hostile_page_costs_no_more_than_a_moment() -> None:
    line = 'inferry_in_flight{model="' + '\\"' * 2000 + '"} 1\n'
    began_s = time.process_time()
    load_of(line * 200)
    assert time.process_time() - began_s < 5.0


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    load_of(text)
    load_of(f"inferry_in_flight{text}\n")
    load_of(f'inferry_in_flight{{model="{text}"}} 1\n')
    load_of(f"{IN_FLIGHT}{text}\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(page: bytes) -> None:
    load_of(page)
    load_of(b"inferry_in_flight " + page + b"\n")


@given(st.integers(0, len(PAGE) - 2))
def test_a_page_that_was_cut_off_is_never_taken_for_less(end: int) -> None:
    """Wherever it was cut: what is left is unknown, or it was cut between lines. Then it says less
    of the models, which is why who asks checks the answer's length; but never of requests."""
    found = load_of(PAGE[:end])
    assert found is None or PAGE[end - 1] == "\n"
