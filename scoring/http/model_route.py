"""``/score`` for a model without a script: JSON or raw bytes in, outputs by name out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from scoring.codec import ModelCodec
from scoring.errors import InputError, ScoringError
from scoring.http.answer import JSON, Answer, error_answer
from scoring.http.call import Call
from scoring.http.errors import answer_error, told
from scoring.http.later import Later
from scoring.http.wire import deadline_ms
from scoring.metrics import Ledger
from scoring.model_engine import Answered
from scoring.rows import Tensors, key_of, rows_of
from scoring.service import ModelService
from scoring.watching.shadow import Shadow
from scoring.work import Work

SMALL_BYTES = 16 * 1024
"""Larger bodies are parsed in turns (later.py)..."""
INLINE_BYTES = 1024 * 1024
"""...and still larger ones, like long answers, on a thread: health never waits for them."""
CONTENT_TYPES = frozenset({"", JSON, "application/x-www-form-urlencoded", "text/plain"})
"""Taken for JSON besides ``+json`` types: what clients send that name none (``curl -d`` says
form)."""
RAW = "application/octet-stream"
JSON_HEADERS = (("Content-Type", JSON),)
HTML_HEADERS = (("Content-Type", "text/html; charset=utf-8"),)
METHODS = ("OPTIONS", "POST")
NOT_ALLOWED = "The method is not allowed for the requested URL."
"""Werkzeug's text, which the reference server answers with (serving.md, section 2.1)."""


class ModelRoute:
    """Answers by running the model in this process; ``service()`` is None while there is none."""

    name = "/score"

    def __init__(
        self,
        service: Callable[[], ModelService | None],
        ledger: Ledger,
        later: Later,
        *,
        deadline_ms: float | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self._service = service
        self._ledger = ledger
        self._later = later
        self._deadline_ms = deadline_ms
        self._shadow = shadow

    def refuse_unread(self, call: Call) -> Answer | None:
        """Another method or type than this route takes."""
        if call.method != "POST":
            return _without_a_body(call.method)
        return None if call.named.get(b"content-type") == RAW.encode() else _refusal(call)

    def begin(self, call: Call) -> None:
        """Outputs by name, or 400 naming what is wrong with which input."""
        if call.method != "POST":
            call.reply(_without_a_body(call.method))
            return
        named = call.named
        kind = named.get(b"content-type", b"")
        is_raw = False
        if kind != b"application/json" or b"content-encoding" in named:
            is_raw = kind == b"application/octet-stream"
            refusal = None if is_raw else _refusal(call)
            if refusal is not None:
                call.reply(refusal)
                return
        service = self._service()
        if service is None or not service.engine.is_loaded:
            text = "the model is not loaded (yet)"
            call.reply(error_answer(503, text, [("Retry-After", "1")]))
            return
        dispatcher = call.dispatcher = service.dispatcher
        try:
            deadline = None
            if self._deadline_ms is not None or b"x-request-deadline-ms" in named:
                deadline = deadline_of(call, self._deadline_ms)
            dispatcher.refuse_at_door(deadline)
            if len(call.body) <= SMALL_BYTES or is_raw:
                self._decode(call, service, deadline, is_raw)
            elif len(call.body) <= INLINE_BYTES:
                self._later.run(lambda: self._decode(call, service, deadline, is_raw, is_late=True))
            else:
                self._decode_aside(call, service, deadline)
        except ScoringError as error:
            self._refused(call, service, error)

    def _decode(
        self,
        call: Call,
        service: ModelService,
        deadline: float | None,
        is_raw: bool,
        *,
        is_late: bool = False,
    ) -> None:
        if call.answered:  # the client left meanwhile
            return
        try:
            started = monotonic()
            codec = service.codec
            inputs = codec.read_raw(call.body) if is_raw else codec.read_json(call.body)
            now = monotonic()
            self._ledger.decoded(service.key, now - started)
            self._add(call, service, inputs, deadline, now, is_late)
        except Exception as error:
            self._refused(call, service, told(error))

    def _add(
        self,
        call: Call,
        service: ModelService,
        inputs: Tensors,
        deadline: float | None,
        now: float,
        is_late: bool,
    ) -> None:
        """``is_late``: since the door was asked, the model may have gone and the queue have filled.
        Nor does the door know the rows."""
        work = Work(
            inputs,
            self._done,
            rows=rows_of(inputs),
            key=key_of(inputs) if service.engine.merging.allowed else None,
            deadline=deadline,
            body=call.body,
            context=(call, service),
        )
        work.name = service.mark
        call.work = work  # before it runs, which may be at once
        if is_late or (deadline is not None and work.rows > 1):
            service.dispatcher.submit(work)
        else:
            service.dispatcher.add(work, now)

    def _done(self, work: Work[Tensors, Answered], outcome: Answered | ScoringError) -> None:
        call, service = work.context
        if isinstance(outcome, ScoringError):
            call.reply(answer_error(outcome))
            return
        started = monotonic()
        if outcome.batch.nbytes > INLINE_BYTES:
            self._encode_aside(call, service, work, outcome)
            return
        answer = _answer(call, service.codec, outcome)
        self._ledger.encoded(service.key, monotonic() - started)
        call.reply(answer)
        if self._shadow is not None:
            self._shadow.offer(service.key, work, outcome)

    def _refused(self, call: Call, service: ModelService, error: ScoringError) -> None:
        if isinstance(error, InputError):
            self._ledger.rejected(service.key, "bad-input")
        call.reply(answer_error(error))

    def _decode_aside(self, call: Call, service: ModelService, deadline: float | None) -> None:
        codec = service.codec

        def decode() -> tuple[Tensors, float]:
            started = monotonic()
            return codec.read_json(call.body), monotonic() - started

        def decoded(future: asyncio.Future[tuple[Tensors, float]]) -> None:
            if call.answered or future.cancelled():
                return
            try:
                inputs, took_s = future.result()
                self._ledger.decoded(service.key, took_s)
                self._add(call, service, inputs, deadline, monotonic(), is_late=True)
            except Exception as error:
                self._refused(call, service, told(error))

        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, decode).add_done_callback(decoded)

    def _encode_aside(
        self,
        call: Call,
        service: ModelService,
        work: Work[Tensors, Answered],
        outcome: Answered,
    ) -> None:
        def encode() -> tuple[Answer, float]:
            with service.aside:  # the first of a batch writes them all
                started = monotonic()
                return _answer(call, service.aside_codec, outcome), monotonic() - started

        def encoded(future: asyncio.Future[tuple[Answer, float]]) -> None:
            if future.cancelled():
                return
            try:
                answer, took_s = future.result()
            except Exception as error:
                call.reply(answer_error(told(error)))
                return
            self._ledger.encoded(service.key, took_s)
            call.reply(answer)
            if self._shadow is not None:
                self._shadow.offer(service.key, work, outcome)

        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, encode).add_done_callback(encoded)


def deadline_of(call: Call, default_ms: float | None) -> float | None:
    """The monotonic second after which nobody wants the answer; None: there is none.

    Raises InputError when the header is no number."""
    asked = call.named.get(b"x-request-deadline-ms")
    if asked is None:
        return None if default_ms is None else call.started + default_ms / 1000
    try:
        milliseconds = deadline_ms(asked)
    except ValueError as error:
        raise InputError(str(error)) from None
    assert milliseconds is not None
    return call.started + milliseconds / 1000


def _answer(call: Call, codec: ModelCodec, outcome: Answered) -> Answer:
    if call.named.get(b"accept") == b"application/octet-stream":
        return _raw_answer(outcome)
    return Answer(200, JSON_HEADERS, codec.write_json(outcome))


def _raw_answer(outcome: Answered) -> Answer:
    """The one output's bytes, little-endian, in row-major order."""
    if len(outcome) != 1:
        names = ", ".join(f"'{name}'" for name in outcome)
        text = f"the model has several outputs ({names}): raw bytes can carry one only"
        return error_answer(406, text)
    (value,) = outcome.values()
    if not hasattr(value, "dtype") or value.dtype.kind == "O":
        return error_answer(406, "the model's output has no raw bytes")
    headers = (
        ("Content-Type", RAW),
        ("x-tensor-dtype", value.dtype.name),
        ("x-tensor-shape", ",".join(map(str, value.shape))),
    )
    return Answer(200, headers, value.tobytes())


def _without_a_body(method: str) -> Answer:
    allow = ("Allow", ", ".join(METHODS))
    if method == "OPTIONS":
        return Answer(200, (*HTML_HEADERS, allow))
    return error_answer(405, NOT_ALLOWED, [allow])


def _refusal(call: Call) -> Answer | None:
    media_type = call.header(b"content-type").partition(";")[0].strip().lower()
    if not (media_type in CONTENT_TYPES or media_type.endswith("+json")):
        text = f"Expects Content-Type to be application/json (or {RAW})"
        return error_answer(415, text)
    if call.header(b"content-encoding", "identity").strip().lower() != "identity":
        return error_answer(415, "Expects a body without Content-Encoding")
    return None
