"""``/score`` for a model without a script: JSON in, outputs by name out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from scoring import tensors
from scoring.dispatcher import Dispatcher
from scoring.errors import ScoringError
from scoring.http.answer import JSON, Answer, error_answer
from scoring.http.errors import answer_error
from scoring.http.exchange import Exchange
from scoring.model_engine import ModelEngine, Tensors

INLINE_BYTES = 64 * 1024
"""Larger bodies are parsed and written on a thread, so that health never waits for them."""
CONTENT_TYPES = frozenset({"", "application/x-www-form-urlencoded", "text/plain"})
"""Taken for JSON besides JSON types: what clients send that name none (``curl -d`` says form)."""

Value = TypeVar("Value")


class ModelRoute:
    """Answers by running the model in this process."""

    methods = frozenset({"POST", "OPTIONS"})

    def __init__(self, dispatcher: Dispatcher[Tensors, Tensors], engine: ModelEngine) -> None:
        self._dispatcher = dispatcher
        self._engine = engine

    async def answer(self, exchange: Exchange) -> Answer:
        """Outputs by name, or 400 naming what is wrong with which input."""
        if exchange.method == "OPTIONS":
            return Answer(200, (("Content-Type", "text/html; charset=utf-8"),))
        refusal = _refusal(exchange.headers)
        if refusal is not None:
            return refusal
        if not self._engine.ready:
            return error_answer(503, "the model is still loading", [("Retry-After", "1")])
        try:
            return await self._score(exchange.body)
        except ScoringError as error:
            return answer_error(error)

    async def _score(self, body: bytes) -> Answer:
        signature = self._engine.signature
        inputs = await _aside(len(body), lambda: tensors.decode_request(body, signature))
        outputs = await self._dispatcher.submit(inputs)
        size = sum(getattr(value, "nbytes", INLINE_BYTES) for value in outputs.values())
        encoded = await _aside(size, lambda: tensors.encode_response(outputs))
        return Answer(200, (("Content-Type", JSON),), encoded)


async def _aside(size_bytes: int, work: Callable[[], Value]) -> Value:
    return work() if size_bytes <= INLINE_BYTES else await asyncio.to_thread(work)


def _refusal(headers: dict[str, str]) -> Answer | None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == JSON or media_type.endswith("+json") or media_type in CONTENT_TYPES
    if not is_json:
        return error_answer(415, "Expects Content-Type to be application/json")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        return error_answer(415, "Expects a body without Content-Encoding")
    return None
