"""Spans of scoring requests, read from the SDK's memory and by a collector."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from scoring.watching.tracer import create_tracer
from scoring.watching.tracing import NO_SPAN, NO_TRACER, Scored, TracingConfig, read_config

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

pytest.importorskip("opentelemetry.sdk.trace")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
SCORED = Scored("digits:3", arrived=100.0, queue_s=0.5, compute_s=0.25, rows=2, batch_rows=8)


class Traced:
    """A tracer whose spans stay in memory; its clock stands at 101."""

    def __init__(self, share: float = 1.0) -> None:
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from scoring.watching.tracing_otel import OtelTracer

        self._exporter = InMemorySpanExporter()
        config = TracingConfig("http://nowhere", share, "scorer", "1.2")
        processor = SimpleSpanProcessor(self._exporter)
        self.tracer = OtelTracer(config, processor, lambda: 101.0)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


def test_a_request_has_a_span_with_queue_and_compute_inside() -> None:
    traced = Traced()
    before = time.time_ns()
    traced.tracer.start("POST", "/score", None).end(200, SCORED)
    after = time.time_ns()
    spans = traced.spans()
    request, queue, compute = spans["POST /score"], spans["queue"], spans["compute"]
    assert request.parent is None
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/score",
        "http.response.status_code": 200,
        "inferry.model": "digits",
        "inferry.version": "3",
        "inferry.rows": 2,
        "inferry.batch.rows": 8,
        "inferry.queue.ms": 500.0,
        "inferry.compute.ms": 250.0,
    }
    assert request.resource.attributes["service.name"] == "scorer"
    for child in (queue, compute):
        assert child.parent is not None
        assert child.parent.span_id == request.context.span_id
    assert queue.start_time is not None
    assert before <= queue.start_time + 1_000_000_000 <= after  # it arrived a second ago
    assert queue.end_time == compute.start_time == queue.start_time + 500_000_000
    assert compute.end_time == queue.start_time + 750_000_000


def test_the_clients_trace_goes_on() -> None:
    traced = Traced(share=0)
    span = traced.tracer.start("POST", "/score", SAMPLED, "vendor=1")
    sent = span.traceparent
    span.end(200, SCORED)
    request = traced.spans()["POST /score"]
    assert request.parent is not None
    assert (request.context.trace_id, request.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert request.context.trace_state.get("vendor") == "1"
    assert sent == f"00-{TRACE}-{request.context.span_id:016x}-01"


def test_the_client_decides_whether_its_trace_is_kept() -> None:
    traced = Traced(share=1)
    span = traced.tracer.start("POST", "/score", f"00-{TRACE}-{PARENT}-00")
    assert span.traceparent is not None
    assert span.traceparent.startswith(f"00-{TRACE}-")
    assert span.traceparent.endswith("-00")
    span.end(200, SCORED)
    assert traced.spans() == {}


@pytest.mark.parametrize(
    "traceparent", ["", "x", SAMPLED[:-1], f"00-{'0' * 32}-{PARENT}-01", "é" * 60, SAMPLED + "-x"]
)
def test_a_traceparent_that_is_none_begins_a_trace(traceparent: str) -> None:
    traced = Traced()
    traced.tracer.start("POST", "/score", traceparent, "===,,").end(200)
    assert traced.spans()["POST /score"].parent is None


def test_only_the_servers_errors_are_errors() -> None:
    from opentelemetry.trace import StatusCode

    traced = Traced()
    for status in (422, 503):
        traced.tracer.start("POST", f"/{status}", None).end(status)
    spans = traced.spans()
    assert spans["POST /422"].status.status_code == StatusCode.UNSET
    assert spans["POST /503"].status.status_code == StatusCode.ERROR
    assert "queue" not in spans


def test_a_share_of_nothing_traces_nothing() -> None:
    traced = Traced(share=0)
    traced.tracer.start("POST", "/score", None).end(200, SCORED)
    assert traced.spans() == {}


def test_a_server_without_traces_imports_no_sdk() -> None:
    assert create_tracer(None) is NO_TRACER
    assert NO_TRACER.start("POST", "/score", SAMPLED) is NO_SPAN
    NO_SPAN.end(200, SCORED)
    assert NO_SPAN.traceparent is None
    code = (
        "import sys; from scoring.watching.tracer import create_tracer; create_tracer(None);"
        "print(any('opentelemetry' in name for name in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes], list[str]]]:
    """A server that keeps what is sent to it: its address, bodies and paths."""
    bodies: list[bytes] = []
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies, paths
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_spans_reach_a_collector_when_the_tracer_closes() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with collector() as (address, bodies, paths):
        tracer = create_tracer(TracingConfig(address))
        tracer.start("POST", "/score", SAMPLED).end(200, SCORED)
        tracer.close()
        tracer.close()
    assert paths == ["/v1/traces"]
    sent = ExportTraceServiceRequest.FromString(bodies[0])
    spans = sent.resource_spans[0].scope_spans[0].spans
    assert sorted(span.name for span in spans) == ["POST /score", "compute", "queue"]
    assert {span.trace_id.hex() for span in spans} == {TRACE}


@pytest.mark.slow
def test_a_collector_that_does_not_answer_holds_nobody_up() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracer = create_tracer(TracingConfig(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        for _ in range(5000):  # more than the SDK keeps
            tracer.start("POST", "/score", None).end(200)
        started = time.monotonic()
        tracer.close(timeout_s=0.05)
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, TracingConfig("http://localhost:4318/v1/traces", 1.0, "mine")),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1/", "OTEL_SERVICE_NAME": "scorer"},
            TracingConfig("http://c:1/v1/traces", 1.0, "scorer"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x", "OTEL_TRACES_SAMPLER_ARG": "0"},
            TracingConfig("http://c:1/x", 0.0, "mine"),
        ),
        (
            {"OTEL_TRACES_SAMPLER_ARG": "a lot"},
            TracingConfig("http://localhost:4318/v1/traces", 1.0, "mine"),
        ),
    ],
)
def test_the_variables_of_opentelemetry_say_where_traces_go(
    environ: dict[str, str], expected: TracingConfig
) -> None:
    assert read_config(environ, "mine") == expected
