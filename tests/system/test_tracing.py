"""Traces of a real server, received by a real collector."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.system.hostile_server import GOOD, GOOD_ANSWER, JSON
from tests.system.watched import INFER, refusal, replies, script_bundle, serving, times_model

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from tests.system.collector import Collector, collecting

pytestmark = pytest.mark.slow

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
SCRIPT = """
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse
def init(): pass
@rawhttp
def run(request):
    return AMLResponse(request.headers.get("traceparent", "none"), 200)
"""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Where servers that this test starts send their spans."""
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        yield found


def test_scoring_requests_have_spans_in_the_clients_trace(
    tmp_path: Path, collector: Collector
) -> None:
    model = times_model(tmp_path / "m.onnx", 2.0)
    with serving(tmp_path, model, "--processes", "2", "--trace") as running:
        answer = running.score(GOOD, {**JSON, "traceparent": SAMPLED, "tracestate": "vendor=1"})
        assert answer.json() == GOOD_ANSWER
        url = f"{running.url}/v2/models/m/infer"
        assert httpx.post(url, content=INFER, trust_env=False).status_code == 200
        assert running.score(b"{").status_code == 400
        for path in ("/", "/healthz", "/readyz", "/metrics", "/v2"):
            httpx.get(f"{running.url}{path}", trust_env=False)
    # The server has ended: all that it had was sent then.
    assert set(collector.paths) == {"/v1/traces"}
    assert {span.service for span in collector.spans} == {"inferry"}
    ours, bad = sorted(collector.named("POST /score"), key=lambda span: span.start_ns)
    (infer,) = collector.named("POST /v2/models/infer")
    assert (ours.trace_id, ours.parent_id) == (TRACE, PARENT)
    assert infer.parent_id == bad.parent_id == ""
    assert len({TRACE, infer.trace_id, bad.trace_id}) == 3
    assert (
        ours.attributes.items()
        >= {
            "http.request.method": "POST",
            "http.route": "/score",
            "http.response.status_code": 200,
            "inferry.model": "m",
            "inferry.version": "1",
            "inferry.rows": 2,
            "inferry.batch.rows": 2,
        }.items()
    )
    for name in ("inferry.queue.ms", "inferry.compute.ms"):
        assert 0 <= ours.attributes[name] < (ours.end_ns - ours.start_ns) / 1e6
    children = [span for span in collector.spans if span.parent_id == ours.span_id]
    assert sorted(span.name for span in children) == ["compute", "queue"]
    assert bad.attributes["http.response.status_code"] == 400
    assert "inferry.rows" not in bad.attributes
    assert len(collector.spans) == 3 + 2 * 2  # nothing but scoring


def test_a_script_sees_its_requests_own_span(tmp_path: Path, collector: Collector) -> None:
    bundle = script_bundle(tmp_path / "b", SCRIPT)
    with serving(tmp_path, bundle, "--trace") as running:
        seen = running.score(b"", {"traceparent": SAMPLED}).text
        begun = running.score(b"").text
    first, second = sorted(collector.named("POST /score"), key=lambda span: span.start_ns)
    assert seen == f"00-{TRACE}-{first.span_id}-01"
    assert begun[:-3] == f"00-{second.trace_id}-{second.span_id}"  # flags: sampled, and random
    assert first.attributes["inferry.model"] == "score"


def test_a_server_that_traces_answers_byte_by_byte_the_same(
    tmp_path: Path, collector: Collector
) -> None:
    model = times_model(tmp_path / "m.onnx", 2.0)
    with serving(tmp_path, model) as running:
        plain = replies(running, "m")
    assert collector.spans == []
    with serving(tmp_path, model, "--trace") as running:
        assert replies(running, "m") == plain
    assert len([span for span in collector.spans if span.parent_id == ""]) == len(plain)


def test_a_collector_that_does_not_answer_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        with serving(tmp_path, times_model(tmp_path / "m.onnx", 2.0), "--trace") as running:
            for _ in range(50):
                assert running.score(GOOD).json() == GOOD_ANSWER
            stopped = time.monotonic()
        assert running.process.returncode == 0
        assert time.monotonic() - stopped < 30


def test_a_server_without_the_packages_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry/__init__.py").write_text("")
    said = refusal(tmp_path, times_model(tmp_path / "m.onnx", 2.0), "--trace")
    assert "error: no module opentelemetry" in said
    assert "pip install inferry[otel]" in said
