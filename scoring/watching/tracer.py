"""The tracer of a server: none, or OpenTelemetry's, which is an optional extra (``pip install
inferry[otel]``): tracing_otel.py names the SDK, and is loaded only when traces are wanted."""

from __future__ import annotations

import time
from collections.abc import Callable

from scoring.errors import ScoringError
from scoring.watching.tracing import NO_TRACER, Tracer, TracingConfig


class TracingUnavailableError(ScoringError):
    """The OpenTelemetry packages are not installed."""

    def __init__(self, missing: str) -> None:
        super().__init__(f"no module {missing}: traces need 'pip install inferry[otel]'")


def create_tracer(
    config: TracingConfig | None, *, clock: Callable[[], float] = time.monotonic
) -> Tracer:
    """The tracer for ``config`` (None: NO_TRACER). Starts a thread, so in each process after its
    fork. Raises TracingUnavailableError when the extra is not installed."""
    if config is None:
        return NO_TRACER
    try:
        from scoring.watching import tracing_otel
    except ModuleNotFoundError as error:
        raise TracingUnavailableError(error.name or "opentelemetry") from error
    return tracing_otel.create(config, clock)
