"""Traces of scoring requests: what they need to know, and who makes them (the port).

tracer = create_tracer(TracingConfig(endpoint="http://collector:4318"))   # tracer.py
span = tracer.start("POST", "/score", traceparent, tracestate)            # NO_TRACER costs nothing
...
span.end(200, Scored(model="digits:3", arrived=work.arrived, queue_s=work.queue_s, ...))
tracer.close()

One span for each scoring request, in the client's trace where it sent a W3C ``traceparent``, with
spans "queue" and "compute" inside, made afterwards from what was measured anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

DEFAULT_ENDPOINT = "http://localhost:4318"
"""A collector on this machine."""


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """Where traces go (OTLP over HTTP; without a path, /v1/traces) and how many: ``share`` of the
    traces that begin here, 0 to 1 (a client's decision is kept)."""

    endpoint: str
    share: float = 1.0
    service_name: str = "inferry"
    service_version: str = ""


def read_config(environ: Mapping[str, str], service_name: str) -> TracingConfig:
    """What OpenTelemetry's own variables say (opentelemetry.io, "SDK environment variables"):
    the endpoint, the service's name (default ``service_name``) and, where
    OTEL_TRACES_SAMPLER_ARG is a number from 0 to 1, the share."""
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not endpoint:
        base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or DEFAULT_ENDPOINT
        endpoint = base.rstrip("/") + "/v1/traces"
    try:
        share = float(environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))
    except ValueError:
        share = 1.0
    name = environ.get("OTEL_SERVICE_NAME") or service_name
    return TracingConfig(endpoint, min(max(share, 0.0), 1.0), name)


@dataclass(frozen=True, slots=True)
class Scored:
    """A request's way through the engine. ``model`` is "name" or "name:version"; ``arrived`` is in
    seconds of the tracer's clock, the rest follows it."""

    model: str
    arrived: float
    queue_s: float
    compute_s: float
    rows: int = 1
    batch_rows: int = 1


class Span(Protocol):
    """A request that is being answered."""

    @property
    def traceparent(self) -> str | None:
        """The header that makes other spans (a script's) this one's children; None: no trace."""

    def end(self, status: int, scored: Scored | None = None) -> None:
        """The answer's HTTP status; ``scored`` is None where no engine ran. Once for each span."""


class Tracer(Protocol):
    """Starts spans."""

    @property
    def is_enabled(self) -> bool:
        """False: nothing needs to be called at all."""

    def start(
        self, method: str, route: str, traceparent: str | None, tracestate: str | None = None
    ) -> Span:
        """A request has arrived. Never raises: a traceparent that is none begins a new trace."""

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for as long as ``timeout_s``; blocks; idempotent."""


class NoSpan:
    """The span of a request that nobody traces."""

    traceparent = None

    def end(self, status: int, scored: Scored | None = None) -> None:
        """Nothing."""


NO_SPAN = NoSpan()


class NoTracer:
    """The tracer of a server without traces."""

    is_enabled = False

    def start(
        self, method: str, route: str, traceparent: str | None, tracestate: str | None = None
    ) -> Span:
        return NO_SPAN

    def close(self, timeout_s: float = 5.0) -> None:
        """Nothing."""


NO_TRACER = NoTracer()
