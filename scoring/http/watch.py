"""Capture and traces: what sees each scoring request come in and its answer leave, and changes
neither. A Front has one only where an operator asked for it.

watch = open_watch(config, environ)      # None: nobody asked
front.watch = watch
...
await watch.close()
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from scoring.config import ServerConfig
from scoring.errors import ScoringError
from scoring.http.answer import Answer
from scoring.http.call import Call
from scoring.watching.capture import Capture, Counts, Record
from scoring.watching.tracer import create_tracer
from scoring.watching.tracing import NO_TRACER, Scored, Tracer, read_config

logger = logging.getLogger("scoring")

CLOSE_S = 2.0
"""How long what waits to be written or sent may take at the end."""
_NOT_SCORED = frozenset({"/", "/healthz"})
LEFT = 499
"""Status of a span whose client left first (nginx's number for it: there is no registered one)."""
_CHARACTERS = 256
"""Kept of a path or a content type, which clients make up."""


class CaptureError(ScoringError):
    """The capture file cannot be written."""


class Watch:
    """No call raises: a request must never notice."""

    def __init__(
        self,
        capture: Capture | None,
        tracer: Tracer = NO_TRACER,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._capture = capture
        self._tracer = tracer
        self._wall = wall

    @property
    def captured(self) -> Counts | None:
        """What became of the records; None where none are made."""
        return None if self._capture is None else self._capture.counts

    def began(self, call: Call) -> None:
        """A request is about to be handed to its route."""
        if self._tracer.is_enabled and call.route.name not in _NOT_SCORED:
            try:
                self._trace(call)
            except Exception:
                logger.exception("a request could not be traced")

    def answered(self, call: Call, answer: Answer, seconds: float, request_id: str) -> None:
        """Its answer is about to be written, ``seconds`` after its first byte."""
        if call.route.name in _NOT_SCORED:
            return
        try:
            if call.trace is not None:
                call.trace.end(answer.status, _scored(call))
            if self._capture is not None:
                at = self._wall() - seconds
                self._capture.offer(_record(call, answer, at, seconds, request_id))
        except Exception:
            logger.exception("a request could not be captured or traced")

    def abandoned(self, call: Call) -> None:
        """Its client has left before the answer."""
        if call.trace is None:
            return
        try:
            call.trace.end(LEFT, _scored(call))
        except Exception:
            logger.exception("a request could not be traced")

    async def close(self) -> None:
        """Write and send what waits, for as long as CLOSE_S."""
        loop = asyncio.get_running_loop()
        closing = [loop.run_in_executor(None, self._tracer.close, CLOSE_S)]
        if self._capture is not None:
            closing.append(loop.run_in_executor(None, self._capture.close, CLOSE_S))
        await asyncio.gather(*closing)

    def _trace(self, call: Call) -> None:
        traceparent = call.named.get(b"traceparent")
        span = call.trace = self._tracer.start(
            call.method,
            call.route.name,
            None if traceparent is None else traceparent.decode("latin-1"),
            call.header(b"tracestate"),
        )
        if span.traceparent is not None:  # a script that traces goes on from here
            kept = [pair for pair in call.headers if pair[0] != b"traceparent"]
            call.headers = [*kept, (b"traceparent", span.traceparent.encode())]


def open_watch(config: ServerConfig, environ: Mapping[str, str]) -> Watch | None:
    """What ``config`` asks for, None when that is nothing; in each process after its fork. Raises
    CaptureError and TracingUnavailableError."""
    watching = config.watching
    capture = None
    if watching.capture is not None:
        capture = Capture(watching.capture, watching.capture_share, watching.capture_bytes)
        try:
            capture.open()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise CaptureError(f"cannot write '{watching.capture}': {reason}") from error
    if not watching.tracing:
        return None if capture is None else Watch(capture)
    return Watch(capture, create_tracer(read_config(environ, config.server_name)))


def _model(call: Call) -> str:
    """ "name:version" of the model that was asked, as metrics call it; "" where none was found."""
    return "" if call.dispatcher is None else str(getattr(call.dispatcher.observer, "key", ""))


def _scored(call: Call) -> Scored | None:
    work = call.work
    if work is None or not work.batch_rows:  # it never ran, or runs still
        return None
    return Scored(_model(call), work.arrived, work.queue_s, work.run_s, work.rows, work.batch_rows)


def _record(call: Call, answer: Answer, at: float, seconds: float, request_id: str) -> Record:
    model, _, version = _model(call).partition(":")
    names = (value for name, value in answer.headers if name.lower() == "content-type")
    return Record(
        at=at,
        request_id=request_id,
        route=call.path[:_CHARACTERS],
        model=model,
        version=version,
        status=answer.status,
        seconds=seconds,
        input=call.body,
        input_type=call.header(b"content-type")[:_CHARACTERS],
        output=answer.body if isinstance(answer.body, bytes) else None,
        output_type=next(names, ""),
    )
