"""A model server on a real socket, in a thread of this process: one port, any number of models.

with ModelServer() as server, server.serving(path):
    response = server.score({"x": [1.0]})
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import orjson
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from scoring.bundle import open_bundle
from scoring.config import ServerConfig
from scoring.http.app import create_app
from scoring.service import bundle_service


class ModelServer:
    """Starting a listener for each model would take a test far longer than its models do: the
    listener stays and ``serving`` swaps the application behind it."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._loop = asyncio.new_event_loop()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                self._pass_on, interface="asgi3", log_config=None, lifespan="off", ws="none"
            )
        )
        self._thread = threading.Thread(target=self._run, name="model server")
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        self._uvicorn.should_exit = True
        self._thread.join(30)
        self._socket.close()
        assert not self._thread.is_alive(), "the server does not stop"

    @contextlib.contextmanager
    def serving(self, path: Path) -> Iterator[None]:
        """Answer with the bundle, model folder or .onnx file at ``path``. Raises what loading
        raises."""
        config = ServerConfig(what=path)
        service = bundle_service(open_bundle(path), config, {})
        try:
            self._call(service.dispatcher.start())
            self._app, _ = create_app(service, config)
            yield
        finally:
            self._app = None
            self._call(service.dispatcher.close())

    def score(self, inputs: dict[str, Any]) -> httpx.Response:
        """POST ``inputs`` to /score."""
        return self._client.post(
            "/score", content=orjson.dumps(inputs), headers={"Content-Type": "application/json"}
        )

    def outputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The answer's outputs by name; fails unless it is 200."""
        response = self.score(inputs)
        assert response.status_code == 200, f"{response.status_code}: {response.text[:300]}"
        parsed: dict[str, Any] = orjson.loads(response.content)
        return parsed

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._uvicorn.serve(sockets=[self._socket]))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None, "no model is being served"
        await self._app(scope, receive, send)
