from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from runtime.autoscale.declared import Declared
from runtime.errors import BadValueError

NAN = float("nan")
INFINITE = float("1e999")


@pytest.mark.parametrize(
    "values",
    [
        {"min_replicas": -1},
        {"min_replicas": 1.5},
        {"min_replicas": True},
        {"max_replicas": 0},
        {"min_replicas": 4, "max_replicas": 3},
        {"max_replicas": 10**30},
        {"target_in_flight": 0.0},
        {"target_in_flight": NAN},
        {"target_in_flight": INFINITE},
        {"target_in_flight": "8"},
        {"target_queue_s": -1.0},
        {"up_s": NAN},
        {"up_s": -0.1},
        {"down_s": INFINITE},
        {"panic_threshold": 0.5},
        {"panic_window_s": 0.0},
        {"zero_grace_s": -1.0},
        {"headroom": NAN},
        {"stale_s": 0.0},
    ],
)
def test_what_no_scale_can_follow_is_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(BadValueError) as refused:
        Declared(**values)
    message = str(refused.value)
    assert any(name in message for name in values)
    assert len(message) < 120


def test_the_defaults_can_be_followed_and_do_not_change() -> None:
    declared = Declared()
    with pytest.raises(dataclasses.FrozenInstanceError):
        declared.min_replicas = 3  # type: ignore[misc]
    assert declared.within(-5) == declared.min_replicas
    assert declared.within(10**9) == declared.max_replicas


def test_none_at_all_may_be_declared_but_not_none_at_most() -> None:
    assert Declared(min_replicas=0, max_replicas=1).within(0) == 0
    with pytest.raises(BadValueError):
        Declared(min_replicas=0, max_replicas=0)
