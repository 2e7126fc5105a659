"""The routes of a scoring server. Health never waits for scoring; ids, CORS and limits live here.

app = create_app(service, config)      # an ASGI application; uvicorn runs it
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from scoring import model_swagger
from scoring.azure import swagger_lookup
from scoring.azure.cors import Cors
from scoring.azure.identity import Ids, TooLong, request_ids
from scoring.config import ServerConfig
from scoring.http.answer import Answer, error_answer, json_answer, send_answer, text_answer
from scoring.http.body import (
    BodyTooLargeError,
    BodyTooSlowError,
    ClientGoneError,
    drain,
    read_body,
)
from scoring.http.exchange import Exchange
from scoring.http.model_route import ModelRoute
from scoring.http.script_route import NOT_FAILED, ScriptRoute
from scoring.metrics import CONTENT_TYPE, Metrics
from scoring.service import ScriptService, Service

NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check"
    " your spelling and try again."
)
NOT_ALLOWED = "The method is not allowed for the requested URL."
"""Werkzeug's texts, which the reference server answers with (serving.md, section 2.1)."""

access_logger = logging.getLogger("azmlinfsrv")
Handler = Callable[[Exchange], Awaitable[Answer]]


@dataclass(frozen=True)
class Endpoint:
    """One route as an ASGI application: method check, ids, body, handler, answer."""

    handler: Handler
    methods: frozenset[str]
    server: App
    offers_options: bool = False
    """Answers OPTIONS itself, as Flask does for a route that has no handler for it."""
    reads_body: bool = False
    is_logged: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        exchange = Exchange(scope)
        is_options = self.offers_options and exchange.method == "OPTIONS"
        if exchange.method not in self.methods and not is_options:
            refused = self.server.refuse(405, NOT_ALLOWED)
            if not self.server.is_script:  # the reference server sends no Allow
                refused = refused.with_more([("Allow", self._allow)])
            await send_answer(refused, send)
            return
        with suppress(ClientGoneError):
            answer = await self._answer(exchange, receive)
            self.server.observe(exchange, answer, time.perf_counter() - started, self.is_logged)
            await send_answer(answer, send, receive, is_head=exchange.method == "HEAD")
            if answer.close:  # let the client read the answer before the connection is reset
                await drain(receive)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    @property
    def _allow(self) -> str:
        return ", ".join(sorted({*self.methods, *(["OPTIONS"] if self.offers_options else [])}))

    async def _answer(self, exchange: Exchange, receive: Receive) -> Answer:
        server = self.server
        ids = request_ids(exchange.headers, lambda: str(uuid.uuid4()))
        if isinstance(ids, TooLong):
            return server.finish(server.refuse(431, ids.message), exchange, ids)
        if self.offers_options and exchange.method == "OPTIONS":
            allow = [("Allow", self._allow)]
            return server.finish(text_answer("").with_more(allow), exchange, ids)
        try:
            if self.reads_body:
                body = await read_body(receive, exchange.headers, server.config.limits)
                exchange = Exchange(exchange.scope, body)
            answer = await self.handler(exchange)
        except BodyTooLargeError as error:
            answer = server.refuse(413, str(error), close=True)
        except BodyTooSlowError as error:
            answer = server.refuse(408, str(error), close=True)
        return server.finish(answer, exchange, ids)


class App:
    """What the endpoints share."""

    def __init__(self, service: Service, config: ServerConfig, metrics: Metrics) -> None:
        self.service = service
        self.config = config
        self.metrics = metrics
        self.cors = Cors(config.cors_origins) if config.cors_origins else None
        self.is_draining = False
        self.route = _route(service)
        engine = service.engine
        metrics.watch(
            lambda: service.dispatcher.load,
            lambda: engine.ready,
            lambda: getattr(engine, "restarts", 0),
        )

    @property
    def is_script(self) -> bool:
        """Whether the Azure contract's own headers are due."""
        return isinstance(self.service, ScriptService)

    def refuse(self, status: int, message: str, *, close: bool = False) -> Answer:
        """An error that the server itself answers."""
        refused = error_answer(status, message, [NOT_FAILED] if self.is_script else [])
        return Answer(refused.status, refused.headers, refused.body, close)

    def finish(self, answer: Answer, exchange: Exchange, ids: Ids | TooLong) -> Answer:
        """Ids, server version and CORS, the same on every known route. The script can override none
        of the ids, but a TraceId of its own stays beside the client's."""
        names = {name.lower() for name, _ in answer.headers}
        added = []
        if self.cors is not None and "access-control-allow-origin" not in names:
            added += self.cors.response_headers(exchange.method, exchange.headers)
        if self.is_script and self.config.server_version:
            added.append(("x-ms-server-version", self.config.server_version))
        pairs = ids.response_headers()
        added += [pair for pair in pairs if pair[0] == "TraceId"]
        return answer.with_more(added).with_headers(p for p in pairs if p[0] != "TraceId")

    def observe(self, exchange: Exchange, answer: Answer, seconds: float, is_logged: bool) -> None:
        """Count the answer, and log it in the reference's form when asked to."""
        self.metrics.observe(exchange.path, answer.status, seconds)
        if is_logged and self.config.access_log:
            path = f"{exchange.path}?{exchange.query}" if exchange.query else exchange.path
            length = len(answer.body) if isinstance(answer.body, bytes) else "N/A"
            access_logger.info(
                "%s %s %d %.3fms %s", exchange.method, path, answer.status, seconds * 1e3, length
            )

    async def live(self, exchange: Exchange) -> Answer:
        """``GET /``: this process answers."""
        return text_answer("Healthy")

    async def ready(self, exchange: Exchange) -> Answer:
        """``GET /readyz``: an engine can answer."""
        if self.is_draining:
            return error_answer(503, "the server is stopping")
        if not self.service.engine.ready:
            return error_answer(503, self.service.engine.broken or "no engine is ready")
        return text_answer("Ready", "text/plain; charset=utf-8")

    async def swagger(self, exchange: Exchange) -> Answer:
        """``GET /swagger.json?version=``: 2 (default), 2.0, 3, 3.0 or 3.1."""
        documents = self._swagger_documents()
        if documents is None:
            return error_answer(503, "the model is still loading", [("Retry-After", "1")])
        found = swagger_lookup.lookup(*documents, exchange.query_value("version"))
        failed = [NOT_FAILED] if self.is_script else []
        if isinstance(found, str):
            return error_answer(404, found, failed)
        return json_answer(200, found, failed)

    async def metrics_text(self, exchange: Exchange) -> Answer:
        """``GET /metrics``."""
        return text_answer(self.metrics.text(), CONTENT_TYPE)

    def _swagger_documents(self) -> tuple[dict[str, object], list[str]] | None:
        service = self.service
        if isinstance(service, ScriptService):
            script = service.engine.script
            return None if script is None else (script.swagger, script.swagger_versions)
        if not service.engine.ready:
            return None
        documents = model_swagger.documents(
            service.engine.signature, name=service.name, version=service.version
        )
        return dict(documents), ["2", "3", "3.1"]


def create_app(service: Service, config: ServerConfig) -> tuple[ASGIApp, App]:
    """The ASGI application and what it shares (for draining)."""
    app = App(service, config, Metrics())
    get = frozenset({"GET", "HEAD"})
    score = Endpoint(app.route.answer, app.route.methods, app, reads_body=True, is_logged=True)
    routes = [
        Route("/score", score),
        Route("/", Endpoint(app.live, get, app, offers_options=True)),
        Route("/healthz", Endpoint(app.live, get, app)),
        Route("/readyz", Endpoint(app.ready, get, app)),
        Route(
            "/swagger.json",
            Endpoint(app.swagger, get, app, offers_options=True, is_logged=True),
        ),
        Route("/metrics", Endpoint(app.metrics_text, get, app)),
    ]
    starlette = Starlette(routes=routes)
    starlette.router.redirect_slashes = False
    starlette.router.default = _not_found(app)
    return starlette, app


def _not_found(app: App) -> ASGIApp:
    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send_answer(app.refuse(404, NOT_FOUND), send)

    return not_found


def _route(service: Service) -> ScriptRoute | ModelRoute:
    if isinstance(service, ScriptService):
        return ScriptRoute(service.dispatcher, timeout_ms=service.azure.scoring_timeout_ms)
    return ModelRoute(service.dispatcher, service.engine)
