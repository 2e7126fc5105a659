"""Batches in a real worker: run_batch(), merged runs, and what must stay apart."""

from __future__ import annotations

import textwrap

import pytest

from scoring.script import frames
from tests.scoring.azure.worker_process import INIT, Start

pytestmark = pytest.mark.slow

FAILED = "An unexpected error occurred in scoring script. Check the logs for more info."
NUMPY = """
    import numpy as np
    from inference_schema.schema_decorators import input_schema
    from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
    sizes = []
    def init():
        pass
    @input_schema("data", NumpyParameterType(np.array([[1.0, 2.0]])))
    def run(data):
        print("rows", len(data))
        if (data > 99).any():
            raise ValueError("too large")
        return {"sum": data.sum(axis=1).tolist()}
"""
HOOK = """
    import json, time
    def init():
        pass
    def run(data):
        print("run", data)
        if data == "bad":
            raise ValueError("bad item")
        return {"alone": data}
    def run_batch(items):
        print("batch", items)
        if "bad" in items:
            raise ValueError("bad batch")
        if "short" in items:
            return []
        if "slow" in items:
            time.sleep(30)
        return [ValueError(item) if item == "error" else {"batch": item} for item in items]
"""


def test_run_batch_answers_all_at_once(start: Start) -> None:
    worker = start(HOOK)
    ready = worker.ready()
    assert (ready.merging, ready.merging_reason) == (True, "the script has run_batch()")
    answers = worker.batch(b"a", b"error", b"c")
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert [answer.json for answer in answers] == [
        {"batch": "a"},
        {"message": FAILED},
        {"batch": "c"},
    ]
    assert answers[0].reply.run_ms == answers[2].reply.run_ms is not None
    assert answers[1].reply.failed
    assert ("x-ms-run-function-failed", "True") in answers[1].reply.headers
    assert "batch ['a', 'error', 'c']" in worker.log()


def test_one_request_alone_always_goes_to_run(start: Start) -> None:
    worker = start(HOOK)
    worker.ready()
    assert worker.score(b"a")[1] == b'{"alone": "a"}'


@pytest.mark.parametrize("body", [b"bad", b"short"])
def test_when_run_batch_fails_each_item_is_run_alone(start: Start, body: bytes) -> None:
    worker = start(HOOK)
    worker.ready()
    answers = worker.batch(b"a", body, b"\xff")
    assert answers[0].json == {"alone": "a"}
    assert answers[1].status == (500 if body == b"bad" else 200)
    assert answers[2].status == 400
    assert "2 requests at once failed; running each alone" in worker.log()


def test_a_batch_that_takes_too_long_is_run_alone(start: Start) -> None:
    worker = start(HOOK, SCORING_TIMEOUT_MS="200")
    worker.ready()
    worker.post([b"slow", b"b"])
    assert isinstance(worker.channel.receive()[0], frames.Progress)
    for place, body in enumerate([b'{"alone": "slow"}', b'{"alone": "b"}']):
        reply, got = worker.channel.receive()
        assert isinstance(reply, frames.Reply)
        assert (reply.index, got) == (place, body)


def test_run_batch_gets_what_the_schema_makes_of_each_item(start: Start) -> None:
    script = (
        NUMPY
        + """
    def run_batch(items):
        return [[type(item).__name__, str(item.dtype), item.shape] for item in items]
"""
    )
    worker = start(script)
    assert worker.ready().merging_reason == "the script has run_batch()"
    answers = worker.batch(
        {"data": [[1, 2]]}, {"data": [[1]]}, {"other": 1}, {"data": [[3, 4]] * 2}
    )
    assert answers[0].json == ["ndarray", "float64", [1, 2]]
    assert answers[3].json == ["ndarray", "float64", [2, 2]]
    assert (answers[1].status, answers[1].json) == (500, {"message": FAILED})
    assert answers[2].status == 400


@pytest.mark.parametrize(
    "hook",
    [
        "run_batch = 7",
        "def run_batch():\n    pass",
        "def run_batch(items, more):\n    pass",
        "async def run_batch(items):\n    pass",
    ],
)
def test_another_run_batch_is_left_alone(start: Start, hook: str) -> None:
    worker = start(INIT + "def run(data):\n    return data\n\n" + hook)
    ready = worker.ready()
    assert not ready.merging
    assert ready.merging_reason == "run() takes a JSON string, and the script has no run_batch()"
    assert [answer.json for answer in worker.batch(b"a", b"b")] == ["a", "b"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "def run(data, request_headers):\n    pass\ndef run_batch(items):\n    return items",
            "run() takes request_headers",
        ),
        (
            "from azureml.contrib.services.aml_request import rawhttp\n"
            "@rawhttp\ndef run(request):\n    return 1\ndef run_batch(items):\n    return items",
            "run() takes the HTTP request itself",
        ),
    ],
)
def test_why_run_batch_is_not_used(start: Start, script: str, reason: str) -> None:
    ready = start(INIT + script).ready()
    assert (ready.merging, ready.merging_reason) == (False, reason)


def test_a_row_wise_run_is_merged(start: Start) -> None:
    worker = start(NUMPY)
    first, _ = worker.channel.receive()
    assert isinstance(first, frames.Proving)
    ready = worker.ready()
    assert ready.merging
    assert ready.merging_reason == "run() treats each row of its sample by itself"
    answers = worker.batch(
        {"data": [[1, 2]]},
        {"data": [[3, 4], [5, 6]]},
        {"data": [[1]]},
        {"data": "x"},
        b"{broken",
        {"data": []},
        {"data": [[7, 8]]},
    )
    assert [answer.status for answer in answers] == [200, 200, 500, 500, 400, 500, 200]
    assert answers[0].json == {"sum": [3.0]}
    assert answers[1].json == {"sum": [7.0, 11.0]}
    assert answers[6].json == {"sum": [15.0]}
    assert answers[0].reply.run_ms == answers[6].reply.run_ms
    log = worker.log()
    assert "rows 4" in log
    assert "run() was called 4 times with its sample" in log


def test_a_merged_run_that_raises_is_run_again_one_by_one(start: Start) -> None:
    worker = start(NUMPY)
    worker.channel.receive()
    worker.ready()
    answers = worker.batch({"data": [[1, 2]]}, {"data": [[100, 2]]}, {"data": [[3, 4]]})
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert answers[2].json == {"sum": [7.0]}


def test_merging_can_be_switched_off(start: Start) -> None:
    worker = start(NUMPY, INFERRY_MERGE="off")
    ready = worker.ready()  # nothing was proved
    assert (ready.merging, ready.merging_reason) == (False, "INFERRY_MERGE is off")
    assert worker.batch({"data": [[1, 2]]}, {"data": [[3, 4]]})[1].json == {"sum": [7.0]}
    assert "rows 2" not in worker.log()


PANDAS = """
    import pandas as pd
    from inference_schema.schema_decorators import input_schema
    from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
    frame = pd.DataFrame({"state": ["WA"], "people": [7], "rate": [0.5]})
    def init():
        pass
    @input_schema("data", PandasParameterType(frame))
    def run(data):
        print("rows", len(data))
        return (data["people"] * data["rate"]).tolist()
"""
LISTS = """
    from inference_schema.schema_decorators import input_schema
    from inference_schema.parameter_types.standard_py_parameter_type import (
        StandardPythonParameterType)
    def init():
        pass
    @input_schema("data", StandardPythonParameterType([[1.0, 2.0]]))
    def run(data):
        print("rows", len(data))
        return [sum(row) for row in data]
"""


def test_frames_are_merged(start: Start) -> None:
    worker = start(PANDAS)
    worker.channel.receive()
    assert worker.ready().merging
    rows = [{"state": "OR", "people": number, "rate": 2} for number in (1, 2, 3)]
    answers = worker.batch({"data": rows[:1]}, {"data": rows[1:]})
    assert [answer.json for answer in answers] == [[2.0], [4.0, 6.0]]
    assert "rows 3" in worker.log()


def test_lists_are_merged_but_not_with_other_kinds(start: Start) -> None:
    worker = start(LISTS)
    worker.channel.receive()
    assert worker.ready().merging
    answers = worker.batch({"data": [[1.0, 2.0]]}, {"data": [[1, 2]]}, {"data": [[0.5, 0.5]] * 3})
    assert [answer.json for answer in answers] == [[3.0], [3], [1.0] * 3]
    assert "rows 4" in worker.log()


FOREIGN = """import functools
def log(function):
    @functools.wraps(function)
    def logged(*a, **k):
        return function(*a, **k)
    return logged
@log
@input"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("@input", FOREIGN), "another decorator"),
        (("2.0]])", "2.0]]), convert_to_provided_type=False"), "does not convert"),
        (("def run(data)", "def run(data, more=1)"), "more than one parameter"),
        (("return [", "return 1 or ["), "an int, not a list"),
    ],
)
def test_why_a_run_is_not_merged(start: Start, change: tuple[str, str], reason: str) -> None:
    worker = start(textwrap.dedent(LISTS).replace(*change))
    message, _ = worker.channel.receive()
    ready = worker.ready() if isinstance(message, frames.Proving) else message
    assert isinstance(ready, frames.Ready)
    assert not ready.merging
    assert reason in ready.merging_reason
    assert f"Requests are not merged: {ready.merging_reason}" in worker.log()


def test_a_stream_in_a_batch_is_collected(start: Start) -> None:
    script = """
        from azureml.contrib.services.aml_response import AMLResponse
        def init():
            pass
        def run(data):
            return 1
        def parts(item):
            yield "1"
            if item == "broken":
                raise ValueError
            yield "2"
        def run_batch(items):
            return [AMLResponse(parts(item), 200) for item in items]
    """
    worker = start(script)
    worker.ready()
    answers = worker.batch(b"a", b"broken")
    assert (answers[0].status, answers[0].json) == (200, 12)
    assert answers[1].status == 500
