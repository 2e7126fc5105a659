"""Traces by the OpenTelemetry SDK: the only module that names it (see tracing.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import time_ns
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from scoring.watching.tracing import Scored, TracingConfig
from scoring.watching.tracing import Span as SpanPort

NS = 1e9
_propagator = TraceContextTextMapPropagator()


def create(config: TracingConfig, clock: Callable[[], float]) -> OtelTracer:
    """The tracer that sends to ``config.endpoint``, in batches and from a thread."""
    endpoint = config.endpoint.rstrip("/")
    if not urlsplit(endpoint).path:
        endpoint += "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=5)
    return OtelTracer(config, BatchSpanProcessor(exporter), clock)


class OtelTracer:
    """Hands finished spans to ``processor``. ``clock`` is the one of ``Scored.arrived``."""

    is_enabled = True

    def __init__(
        self, config: TracingConfig, processor: SpanProcessor, clock: Callable[[], float]
    ) -> None:
        resource = {"service.name": config.service_name, "service.version": config.service_version}
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.share)),
            resource=Resource.create({name: text for name, text in resource.items() if text}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("inferry")
        self._clock = clock
        self._is_closed = False

    def start(
        self, method: str, route: str, traceparent: str | None, tracestate: str | None = None
    ) -> SpanPort:
        context = Context()
        if traceparent is not None:
            carrier = {"traceparent": traceparent}
            if tracestate:
                carrier["tracestate"] = tracestate
            context = _propagator.extract(carrier, context)
        span = self._tracer.start_span(
            f"{method} {route}",
            context,
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": route},
        )
        return _Request(self, span)

    def close(self, timeout_s: float = 5.0) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        # The SDK's own shutdown waits for a collector that does not answer for much longer.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(timeout_s)

    def unix_ns(self, moment: float) -> int:
        """A second of the clock as Unix time in nanoseconds."""
        return time_ns() - round((self._clock() - moment) * NS)

    def child(self, context: Context, name: str, start_ns: int, seconds: float) -> int:
        """Make a span of the past; when it ended."""
        end_ns = start_ns + round(seconds * NS)
        self._tracer.start_span(name, context, start_time=start_ns).end(end_ns)
        return end_ns


class _Request:
    """The span of one request."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: OtelTracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(self._span, Context()))
        return carrier.get("traceparent")

    def end(self, status: int, scored: Scored | None = None) -> None:
        span = self._span
        if not span.is_recording():
            return
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", str(status))
        if scored is not None:
            self._add(scored)
        span.end()

    def _add(self, scored: Scored) -> None:
        name, _, version = scored.model.partition(":")
        self._span.set_attributes(
            {
                "inferry.model": name,
                "inferry.version": version,
                "inferry.rows": scored.rows,
                "inferry.batch.rows": scored.batch_rows,
                "inferry.queue.ms": scored.queue_s * 1e3,
                "inferry.compute.ms": scored.compute_s * 1e3,
            }
        )
        context = set_span_in_context(self._span, Context())
        arrived_ns = self._tracer.unix_ns(scored.arrived)
        began_ns = self._tracer.child(context, "queue", arrived_ns, scored.queue_s)
        self._tracer.child(context, "compute", began_ns, scored.compute_s)
