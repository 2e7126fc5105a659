from __future__ import annotations

import json

from runtime.autoscale import change
from runtime.autoscale.change import Before, Outcome
from runtime.autoscale.decision import Cause, Decision

MORE = Decision(4, "12 requests/s at 4 a replica needs 3.2 replicas", Cause.MORE)


def begun(why: str = MORE.why) -> Before:
    found = change.before(
        Decision(4, why, Cause.MORE),
        change="c1",
        deployment="digits",
        at_unix_s=1.5e9,
        from_replicas=3,
    )
    assert found is not None
    return found


def test_no_change_is_told_of_where_there_is_none() -> None:
    assert change.before(MORE, change="c1", deployment="d", at_unix_s=0.0, from_replicas=4) is None


def test_before_and_after_are_the_same_change() -> None:
    first = begun()
    then = change.after(first, Outcome.DONE, at_unix_s=1.5e9 + 2, ready_replicas=4, took_s=2.0)
    assert (then.change, then.from_replicas, then.to_replicas) == ("c1", 3, 4)
    told = change.document(then)
    assert told["moment"] == "after"
    assert told["outcome"] == "done"
    assert {k: v for k, v in told.items() if k in ("why", "cause")} == {
        "why": MORE.why,
        "cause": "more",
    }
    assert set(change.document(first)) < set(told)


def test_a_clock_that_jumped_makes_no_negative_time() -> None:
    then = change.after(begun(), Outcome.DONE, at_unix_s=0.0, ready_replicas=4, took_s=-5.0)
    assert then.took_s == 0.0


def test_the_document_is_json() -> None:
    then = change.after(
        begun(), Outcome.FAILED, at_unix_s=1.0, ready_replicas=3, took_s=9.0, error="no memory"
    )
    assert json.loads(json.dumps(change.document(then))) == change.document(then)


def test_no_text_is_two_variables_or_ends_one() -> None:
    told = change.environment(begun("a\nPATH=/tmp\x00b\x1b[31m\u2028c" + "x" * 5000))
    assert told["INFERRY_SCALE_WHY"].startswith("a PATH=/tmp b [31m c")
    assert all(value.isprintable() and len(value) <= 1000 for value in told.values())
    assert told["INFERRY_SCALE_TO_REPLICAS"] == "4"
    assert "INFERRY_SCALE_ERROR" not in told
