"""``/v2/models/M[/versions/V]/infer``: the Open Inference Protocol (research/serving.md, 8).

Errors are ``{"error": text}`` with Triton's codes, which its clients know; bodies come and go as
JSON, JSON with binary tensors, or raw bytes, compressed if the client likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from scoring.errors import BodyError, InputError, ScoringError
from scoring.http.answer import Answer, json_answer
from scoring.http.call import Call
from scoring.http.errors import retry_headers, status_of, told
from scoring.http.later import Later
from scoring.http.model_route import (
    INLINE_BYTES,
    JSON_HEADERS,
    RAW,
    SMALL_BYTES,
    deadline_of,
)
from scoring.metrics import Ledger
from scoring.model_engine import Answered
from scoring.oip import compression
from scoring.oip.infer_request import InferRequest
from scoring.rows import Tensors, key_of, rows_of
from scoring.service import ModelService
from scoring.watching.shadow import Shadow
from scoring.work import ORDINARY, Work

HEADER_LENGTH = b"inference-header-content-length"
COMPRESSIBLE_BYTES = compression.MIN_BYTES // 8
"""Of tensors; fewer make no answer, not even in JSON, that is worth compressing, and most clients
name codings with each request."""
MAX_DIGITS = 18
"""Of that; int() itself refuses some thousand."""


class InferRoute:
    """Answers with one model; ``find()`` gives its service or raises a ScoringError."""

    def __init__(
        self,
        name: str,
        find: Callable[[], ModelService],
        ledger: Ledger,
        later: Later,
        *,
        body_bytes: int,
        deadline_ms: float | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.name = name
        self._find = find
        self._ledger = ledger
        self._later = later
        self._body_bytes = body_bytes
        self._deadline_ms = deadline_ms
        self._shadow = shadow

    def refuse_unread(self, call: Call) -> Answer | None:
        """Another method than POST."""
        if call.method == "POST":
            return None
        return oip_error(405, "this path takes POST", [("Allow", "POST")])

    def begin(self, call: Call) -> None:
        """The outputs that were asked for."""
        refusal = self.refuse_unread(call)
        if refusal is not None:
            call.reply(refusal)
            return
        service = None
        try:
            service = self._find()
            call.dispatcher = service.dispatcher
            deadline = deadline_of(call, self._deadline_ms)
            service.dispatcher.refuse_at_door(deadline)
            if b"content-encoding" in call.named:
                self._read_aside(call, service, deadline)
                return
            # Binary tensors are not parsed, whatever their size.
            json_bytes = len(call.body) if HEADER_LENGTH not in call.named else 0
            if json_bytes <= SMALL_BYTES:
                self._read_now(call, service, deadline)
            elif json_bytes <= INLINE_BYTES:
                self._later.run(lambda: self._read_now(call, service, deadline))
            else:
                self._read_aside(call, service, deadline)
        except ScoringError as error:
            self._refuse(call, service, error)

    def _read_now(self, call: Call, service: ModelService, deadline: float | None) -> None:
        if call.answered:  # the client left meanwhile
            return
        try:
            started = monotonic()
            request = service.codec.read_infer(call.body, _header_length(call))
            self._ledger.decoded(service.key, monotonic() - started)
            self._submit(call, service, request, deadline)
        except Exception as error:
            self._refuse(call, service, told(error))

    def _read(self, call: Call, service: ModelService) -> tuple[InferRequest, float]:
        started = monotonic()
        body = call.body
        coding = call.named.get(b"content-encoding")
        if coding is not None:
            body = compression.decompress(body, coding.decode("latin-1"), self._body_bytes)
        with service.aside:
            request = service.aside_codec.read_infer(body, _header_length(call))
        return request, monotonic() - started

    def _submit(
        self, call: Call, service: ModelService, request: InferRequest, deadline: float | None
    ) -> None:
        if request.timeout_us:
            until = call.started + request.timeout_us / 1e6
            deadline = until if deadline is None else min(deadline, until)
        inputs: Tensors = request.inputs
        work = Work(
            inputs,
            self._done,
            rows=rows_of(request.inputs),
            key=key_of(request.inputs) if service.engine.merging.allowed else None,
            deadline=deadline,
            priority=request.priority or ORDINARY,
            body=call.body,
            context=(call, service, request),
        )
        work.name = service.mark
        call.work = work  # before it runs, which may be at once
        service.dispatcher.submit(work)

    def _done(self, work: Work[Any, Answered], outcome: Answered | ScoringError) -> None:
        call, service, request = work.context
        if isinstance(outcome, ScoringError):
            call.reply(oip_answer(outcome))
            return
        size = outcome.batch.nbytes
        if size > INLINE_BYTES or (size >= COMPRESSIBLE_BYTES and b"accept-encoding" in call.named):
            coding = compression.choose(call.header(b"accept-encoding"))
            if coding is not None or outcome.batch.nbytes > INLINE_BYTES:
                self._aside(work, outcome, lambda: _written(service, request, outcome, coding))
                return
        started = monotonic()
        try:
            answer = _written(service, request, outcome, None)
        except ScoringError as error:
            answer = oip_answer(error)
        self._ledger.encoded(service.key, monotonic() - started)
        call.reply(answer)
        if self._shadow is not None:
            self._shadow.offer(service.key, work, outcome)

    def _refuse(self, call: Call, service: ModelService | None, error: ScoringError) -> None:
        if service is not None and isinstance(error, InputError):
            self._ledger.rejected(service.key, "bad-input")
        call.reply(oip_answer(error))

    def _read_aside(self, call: Call, service: ModelService, deadline: float | None) -> None:
        def read(future: asyncio.Future[tuple[InferRequest, float]]) -> None:
            if call.answered or future.cancelled():
                return
            try:
                request, took_s = future.result()
                self._ledger.decoded(service.key, took_s)
                self._submit(call, service, request, deadline)
            except Exception as error:
                self._refuse(call, service, told(error))

        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, self._read, call, service).add_done_callback(read)

    def _aside(
        self, work: Work[Any, Answered], outcome: Answered, write: Callable[[], Answer]
    ) -> None:
        call, service, _ = work.context

        def timed() -> tuple[Answer, float]:
            started = monotonic()
            return write(), monotonic() - started

        def written(future: asyncio.Future[tuple[Answer, float]]) -> None:
            if future.cancelled():
                return
            try:
                answer, took_s = future.result()
            except Exception as error:
                call.reply(oip_answer(told(error)))
                return
            self._ledger.encoded(service.key, took_s)
            call.reply(answer)
            if self._shadow is not None:
                self._shadow.offer(service.key, work, outcome)

        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, timed).add_done_callback(written)


def oip_error(status: int, text: str, headers: list[tuple[str, str]] | None = None) -> Answer:
    """An error in the protocol's shape."""
    return json_answer(status, {"error": text}, headers or [])


def oip_answer(error: ScoringError) -> Answer:
    """The answer for an error: bad and unknown are 400 and 404, as Triton has them."""
    status = status_of(error)
    if isinstance(error, compression.UnknownCodingError):
        status = 415
    elif isinstance(error, compression.UnfoldsTooLargeError):
        status = 413
    return oip_error(status, str(error), retry_headers(error))


def _header_length(call: Call) -> int | None:
    """Inference-Header-Content-Length; 0 is a raw request. Content-Type says nothing: aiohttp calls
    every body application/octet-stream."""
    given = call.named.get(HEADER_LENGTH)
    if given is None:
        return None
    if not given.isdigit() or len(given) > MAX_DIGITS:
        raise BodyError("Inference-Header-Content-Length must be a number of bytes")
    return int(given)


def _written(
    service: ModelService, request: InferRequest, outcome: Answered, coding: str | None
) -> Answer:
    body, header_length = service.codec.write_infer(request, outcome)
    headers: tuple[tuple[str, str], ...] = JSON_HEADERS
    if header_length is not None:
        headers = (
            ("Content-Type", RAW),
            ("Inference-Header-Content-Length", str(header_length)),
        )
    if coding is not None and len(body) >= compression.MIN_BYTES:
        body = compression.compress(body, coding)
        headers += (("Content-Encoding", coding), ("Vary", "Accept-Encoding"))
    return Answer(200, headers, body)
