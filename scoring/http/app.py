"""The routes behind Starlette: all that need not be fast. Health never waits for scoring.

starlette = create_app(site)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from scoring.azure import swagger_lookup
from scoring.http.answer import Answer, error_answer, json_answer, send_answer, text_answer
from scoring.http.exchange import Exchange
from scoring.metrics import render

NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check"
    " your spelling and try again."
)
NOT_ALLOWED = "The method is not allowed for the requested URL."
"""Werkzeug's texts, which the reference server answers with (serving.md, section 2.1)."""

Handler = Callable[[Exchange], Awaitable[Answer]]


class Served(Protocol):
    """What these routes ask about."""

    is_script: bool
    triton_metrics: bool

    @property
    def not_ready(self) -> str | None:
        """Why no request can be answered; None when one can."""

    def swagger(self) -> tuple[dict[str, object], list[str]] | None:
        """Documents by version alias, and the versions; None while loading."""

    def snapshots(self) -> list[bytes]:
        """The metrics of all processes."""

    def refuse(self, status: int, message: str) -> Answer:
        """An error that the server itself answers."""

    def finish(self, exchange: Exchange, answer: Answer, route: str) -> Answer:
        """The same with ids and CORS; counts it."""

    async def oip(self, exchange: Exchange) -> Answer:
        """Everything below /v2 but infer."""


@dataclass(frozen=True)
class Endpoint:
    """One route as an ASGI application: method check, handler, ids, answer."""

    handler: Handler
    methods: frozenset[str]
    served: Served
    name: str
    offers_options: bool = False
    """Answers OPTIONS itself, as Flask does for a route that has no handler for it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, await _body(receive))
        is_options = self.offers_options and exchange.method == "OPTIONS"
        if exchange.method not in self.methods and not is_options:
            refused = self.served.refuse(405, NOT_ALLOWED)
            if not self.served.is_script:  # the reference server sends no Allow
                refused = refused.with_more([("Allow", self._allow)])
            answer = refused
        elif is_options:
            answer = text_answer("").with_more([("Allow", self._allow)])
            answer = self.served.finish(exchange, answer, self.name)
        else:
            answer = await self.handler(exchange)
            answer = self.served.finish(exchange, answer, self.name)
        await send_answer(answer, send, is_head=exchange.method == "HEAD")

    @property
    def _allow(self) -> str:
        return ", ".join(sorted({*self.methods, *(["OPTIONS"] if self.offers_options else [])}))


@dataclass(frozen=True)
class Handlers:
    """The plain routes' handlers."""

    served: Served

    async def live(self, exchange: Exchange) -> Answer:
        """``GET /``: this process answers."""
        return text_answer("Healthy")

    async def ready(self, exchange: Exchange) -> Answer:
        """``GET /readyz``: an engine can answer."""
        reason = self.served.not_ready
        if reason is not None:
            return error_answer(503, reason)
        return text_answer("Ready", "text/plain; charset=utf-8")

    async def swagger(self, exchange: Exchange) -> Answer:
        """``GET /swagger.json?version=``: 2 (default), 2.0, 3, 3.0 or 3.1."""
        documents = self.served.swagger()
        if documents is None:
            return error_answer(503, "the model is still loading", [("Retry-After", "1")])
        found = swagger_lookup.lookup(*documents, exchange.query_value("version"))
        if isinstance(found, str):
            return self.served.refuse(404, found)
        headers = self.served.refuse(404, "").headers[1:]
        return json_answer(200, found, headers)

    async def metrics(self, exchange: Exchange) -> Answer:
        """``GET /metrics``: of all processes."""
        page = render(
            self.served.snapshots(),
            triton_names=self.served.triton_metrics,
            accept=exchange.headers.get("accept"),
        )
        return Answer(200, (("Content-Type", page.content_type),), page.body)


def create_app(served: Served) -> ASGIApp:
    """The ASGI application."""
    handlers = Handlers(served)
    get = frozenset({"GET", "HEAD"})

    def endpoint(path: str, handler: Handler, *, offers_options: bool = False) -> Route:
        return Route(path, Endpoint(handler, get, served, path, offers_options))

    any_method = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
    oip = Endpoint(served.oip, any_method, served, "/v2")
    routes = [
        endpoint("/", handlers.live, offers_options=True),
        endpoint("/healthz", handlers.live),
        endpoint("/readyz", handlers.ready),
        endpoint("/swagger.json", handlers.swagger, offers_options=True),
        endpoint("/metrics", handlers.metrics),
        Route("/score", Endpoint(handlers.live, frozenset(), served, "/score")),  # a 405
        Route("/v2", oip),
        Route("/v2/{rest:path}", oip),
    ]
    starlette = Starlette(routes=routes)
    starlette.router.redirect_slashes = False
    starlette.router.default = _not_found(served, oip)
    return starlette


def _not_found(served: Served, oip: ASGIApp) -> ASGIApp:
    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            exchange = Exchange(scope)
            if exchange.path.startswith("/v2/"):  # with a line break in it, which no route matches
                await oip(scope, receive, send)
                return
            served.finish(exchange, answer := served.refuse(404, NOT_FOUND), "other")
            await send_answer(answer, send, is_head=exchange.method == "HEAD")

    return not_found


async def _body(receive: Receive) -> bytes:
    """The protocol has read it whole."""
    message = await receive()
    body: bytes = message.get("body", b"")
    return body
