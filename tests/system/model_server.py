"""A model server on a real socket, in a thread of this process: one port, any number of models.

with ModelServer() as server, server.serving(path):
    response = server.score({"x": [1.0]})
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import orjson

from scoring.bundle import open_bundle
from scoring.config import ServerConfig
from scoring.http.front import Front
from scoring.http.protocol import ScoringProtocol
from scoring.http.site import Site
from scoring.metrics import Ledger
from scoring.quarantine import Quarantine
from scoring.repository import ModelRepository
from scoring.service import Shared, bundle_service


class ModelServer:
    """Starting a process for each model would take a test far longer than its models do: the
    listener stays and ``serving`` swaps what is behind it."""

    def __init__(self) -> None:
        self._front: Front | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="model server")
        self._server: asyncio.Server | None = None
        self._is_listening = threading.Event()
        self._client = httpx.Client(
            timeout=60, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def __enter__(self) -> ModelServer:
        self._thread.start()
        assert self._is_listening.wait(60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        assert not self._thread.is_alive(), "the server does not stop"

    @property
    def url(self) -> str:
        """Without a path."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @contextlib.contextmanager
    def serving(self, path: Path) -> Iterator[None]:
        """Answer with the bundle, model folder or .onnx file at ``path``. Raises what loading
        raises."""
        config, ledger = ServerConfig(what=path), Ledger()
        service = bundle_service(open_bundle(path), Shared(config, ledger, Quarantine()), {})
        assert isinstance(service, ModelRepository)
        try:
            self._call(service.start())
            site = Site(service, config, ledger, snapshots=lambda: [ledger.snapshot()])
            self._front = Front(site, config, ledger)
            yield
        finally:
            self._front = None
            self._call(service.close())

    def score(self, inputs: dict[str, Any]) -> httpx.Response:
        """POST ``inputs`` to /score."""
        return self._client.post(
            f"{self.url}/score",
            content=orjson.dumps(inputs),
            headers={"Content-Type": "application/json"},
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
            self._server = self._loop.run_until_complete(
                self._loop.create_server(self._connection, "127.0.0.1", 0)
            )
            self._is_listening.set()
            self._loop.run_forever()
            self._server.close()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def _connection(self) -> ScoringProtocol:
        assert self._front is not None, "no model is being served"
        return ScoringProtocol(self._front, self._loop)
