"""The capture file of a real server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.hostile_server import GOOD, GOOD_ANSWER
from tests.system.watched import (
    INFER,
    counter,
    refusal,
    replies,
    script_bundle,
    serving,
    times_model,
    wait_until,
)

pytestmark = pytest.mark.slow

STREAM = """
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse
def init(): pass
def chunks():
    yield b"one "
    yield b"two"
@rawhttp
def run(request):
    return AMLResponse(chunks() if request.args.get("stream") else "whole", 200)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_requests_and_answers_of_all_processes_are_in_one_file(tmp_path: Path) -> None:
    model, file = times_model(tmp_path / "m.onnx", 2.0), tmp_path / "captured.jsonl"
    with serving(tmp_path, model, "--processes", "2", "--capture", file) as running:
        ids = []
        for number in range(20):
            answer = running.score(GOOD)
            assert answer.json() == GOOD_ANSWER
            ids.append(answer.headers["x-request-id"])
            assert httpx.get(running.url, trust_env=False).status_code == 200, number
        running.score(GOOD, {"x-request-id": "mine"})
        url = f"{running.url}/v2/models/m/infer"
        assert httpx.post(url, content=INFER, trust_env=False).status_code == 200
        running.score(bytes(16), {"Content-Type": "application/octet-stream"})
        assert running.score(b"{").status_code == 400
        wait_until(lambda: counter(running, "inferry_captured_total", outcome="written") == 24)
        assert counter(running, "inferry_captured_total") == 24
    found = {line["request_id"]: line for line in lines(file)}
    assert len(lines(file)) == len(found) == 24
    for request_id in ids:
        line = found.pop(request_id)
        assert (line["input"]["json"], line["output"]["json"]) == (json.loads(GOOD), GOOD_ANSWER)
        about = ("route", "model", "version", "status")
        assert [line[name] for name in about] == ["/score", "m", "1", 200]
        assert line["milliseconds"] > 0
    assert found.pop("mine")["status"] == 200
    infer, raw, bad = sorted(found.values(), key=lambda line: str(line["time"]))
    assert infer["route"] == "/v2/models/m/infer"
    assert base64.b64decode(raw["input"]["base64"]) == bytes(16)
    assert raw["input"]["content_type"] == "application/octet-stream"
    assert (bad["status"], bad["model"]) == (400, "m")
    assert base64.b64decode(bad["input"]["base64"]) == b"{"


def test_a_server_that_captures_answers_byte_by_byte_the_same(tmp_path: Path) -> None:
    model, file = times_model(tmp_path / "m.onnx", 2.0), tmp_path / "captured.jsonl"
    with serving(tmp_path, model) as running:
        plain = replies(running, "m")
    with serving(tmp_path, model, "--capture", file) as running:
        assert replies(running, "m") == plain
    assert len(lines(file)) == len(plain)


def test_a_share_is_kept_and_nothing_of_it_is_lost_at_the_end(tmp_path: Path) -> None:
    model, file = times_model(tmp_path / "m.onnx", 2.0), tmp_path / "captured.jsonl"
    options = ("--processes", "1", "--capture", file, "--capture-share", "0.5")
    with (
        serving(tmp_path, model, *options) as running,
        httpx.Client(base_url=running.url, trust_env=False) as client,
    ):
        for number in range(200):
            answer = client.post("/score", content=GOOD, headers={"x-request-id": str(number)})
            assert answer.status_code == 200
        taken = counter(running, "inferry_captured_total")
    assert taken <= len(lines(file))
    assert 50 < len({line["request_id"] for line in lines(file)}) == len(lines(file)) < 150


def test_a_stream_is_captured_without_its_output(tmp_path: Path) -> None:
    bundle, file = script_bundle(tmp_path / "b", STREAM), tmp_path / "captured.jsonl"
    with serving(tmp_path, bundle, "--capture", file) as running:
        for query, text in (("?stream=1", "one two"), ("", "whole")):
            answer = httpx.get(f"{running.url}/score{query}", trust_env=False)
            assert answer.text == text
    stream, whole = lines(file)
    assert stream["output"] == {"content_type": "text/html; charset=utf-8", "streamed": True}
    assert base64.b64decode(whole["output"]["base64"]) == b"whole"
    assert stream["model"] == whole["model"] == "score"


def test_the_file_may_be_moved_away_while_it_is_written(tmp_path: Path) -> None:
    model, file = times_model(tmp_path / "m.onnx", 2.0), tmp_path / "captured.jsonl"
    with serving(tmp_path, model, "--processes", "1", "--capture", file) as running:
        running.score(GOOD)
        wait_until(lambda: counter(running, "inferry_captured_total") == 1)
        file.rename(tmp_path / "old.jsonl")
        running.score(GOOD)
    assert len(lines(tmp_path / "old.jsonl")) == len(lines(file)) == 1


def test_a_file_that_cannot_be_written_is_said_before_anything_is_served(tmp_path: Path) -> None:
    model = times_model(tmp_path / "m.onnx", 2.0)
    said = refusal(tmp_path, model, "--capture", tmp_path / "nowhere/captured.jsonl")
    assert "error: cannot write" in said
    assert "nowhere/captured.jsonl': No such file or directory" in said
