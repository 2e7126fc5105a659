"""Routes to a model: whatever breaks, wherever it runs, the client is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from scoring.dispatcher import Dispatcher
from scoring.http.answer import Answer
from scoring.http.call import Call
from scoring.http.infer_route import InferRoute
from scoring.http.later import Later
from scoring.http.model_route import INLINE_BYTES, SMALL_BYTES, ModelRoute
from scoring.metrics import Ledger
from scoring.model_engine import Answered, ModelEngine
from scoring.rows import Tensors
from scoring.service import ModelService
from tests.scoring.little_models import FakeModel

ROWS = INLINE_BYTES // 4 + 1
"""Of float32: the answer is written on a thread."""


class Connection:
    """Keeps the answers to its calls."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()

    def answer(self, call: Call, answer: Answer) -> None:
        self.answers.put_nowait(answer)


class Desk:
    """A model behind its two routes."""

    def __init__(self) -> None:
        engine = ModelEngine(FakeModel)
        dispatcher: Dispatcher[Tensors, Answered] = Dispatcher(engine, queue_limit=10)
        self.service = ModelService("m", 1, engine, dispatcher)
        ledger, later = Ledger(), Later()
        ledger.register(self.service.key)
        self.score = ModelRoute(lambda: self.service, ledger, later)
        self.infer = InferRoute("/infer", lambda: self.service, ledger, later, body_bytes=10**9)

    def begin(self, route: ModelRoute | InferRoute, body: bytes, **headers: bytes) -> Connection:
        """A request arrives."""
        call = Call(0.0)
        call.method, call.body, call.route = "POST", body, route
        named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        call.named = {b"content-type": b"application/json", **named}
        connection = Connection()
        call.connection = connection
        route.begin(call)
        return connection


def _with(scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        desk = Desk()
        await desk.service.dispatcher.start()
        await scenario(desk)
        await desk.service.dispatcher.close()

    asyncio.run(run())


async def _answer(connection: Connection) -> Answer:
    return await asyncio.wait_for(connection.answers.get(), 45)


def _fail(*_: Any) -> Any:
    raise KeyError("a bug")


_bug: Any = _fail


@pytest.mark.parametrize("size", [10, SMALL_BYTES + 1, INLINE_BYTES + 1])
def test_a_bug_in_reading_is_a_500_wherever_it_is_read(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(desk: Desk) -> None:
        desk.service.codec.read_json = _bug
        for codec in (desk.service.codec, desk.service.aside_codec):
            codec.read_infer = _bug  # type: ignore[method-assign]
        for route in (desk.score, desk.infer):
            answer = await _answer(desk.begin(route, b" " * size))
            assert answer.status == 500
            assert b"a bug" not in answer.body  # type: ignore[operator]

    _with(scenario)
    assert "a route failed" in caplog.text


def test_a_bug_in_writing_on_a_thread_is_a_500() -> None:
    async def scenario(desk: Desk) -> None:
        for codec in (desk.service.codec, desk.service.aside_codec):
            codec.write_json = codec.write_infer = _bug  # type: ignore[method-assign]
        body = np.ones(ROWS, np.float32).tobytes()
        raw = desk.begin(desk.score, body, content_type=b"application/octet-stream")
        assert (await _answer(raw)).status == 500
        raw = desk.begin(desk.infer, body, inference_header_content_length=b"0")
        assert (await _answer(raw)).status == 500

    _with(scenario)


def test_a_large_answer_is_raw_too_where_that_is_asked_for() -> None:
    async def scenario(desk: Desk) -> None:
        raw = b"application/octet-stream"
        for rows in (1, ROWS):
            body = np.ones(rows, np.float32).tobytes()
            answer = await _answer(desk.begin(desk.score, body, content_type=raw, accept=raw))
            assert dict(answer.headers)["x-tensor-shape"] == str(rows)
            assert answer.body == np.full(rows, 2, np.float32).tobytes()

    _with(scenario)


@pytest.mark.parametrize("more", [{}, {"content_encoding": b"identity"}])
def test_a_header_length_of_many_digits_is_the_clients_fault(more: dict[str, bytes]) -> None:
    async def scenario(desk: Desk) -> None:
        headers = {"inference_header_content_length": b"9" * 5000, **more}
        assert (await _answer(desk.begin(desk.infer, b"{}", **headers))).status == 400

    _with(scenario)


@pytest.mark.parametrize("size", [SMALL_BYTES + 1, INLINE_BYTES + 1])
def test_who_comes_late_to_a_model_that_has_gone_is_told_so(size: int) -> None:
    async def scenario(desk: Desk) -> None:
        body = json.dumps({"x": [1.0]}).encode().ljust(size)
        connection = desk.begin(desk.score, body)
        await desk.service.dispatcher.close()
        assert (await _answer(connection)).status in (500, 503)

    _with(scenario)
