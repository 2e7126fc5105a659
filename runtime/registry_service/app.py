"""The ASGI application: who may come in, which route answers, what every answer carries."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from registry.distribution import Code, Distribution, DistributionError
from runtime.registry_service.blobs import blobs
from runtime.registry_service.call import Call
from runtime.registry_service.config import ServiceConfig
from runtime.registry_service.damage import DamageWatch
from runtime.registry_service.door import READING, check_browser, token_of
from runtime.registry_service.listings import catalog, referrers, tags
from runtime.registry_service.manifests import manifests
from runtime.registry_service.paths import METHODS, Kind, Route, parse_path
from runtime.registry_service.refusals import GoneError, error_response, refusal
from runtime.registry_service.request_body import RequestBody
from runtime.registry_service.uploads import begin, proceed

Handler = Callable[[Call], Awaitable[Response]]
Log = Callable[[str], None]


async def _base(call: Call) -> Response:
    return Response("{}", media_type="application/json")


HANDLERS: dict[Kind, Handler] = {
    Kind.HEALTH: _base,
    Kind.BASE: _base,
    Kind.CATALOG: catalog,
    Kind.TAGS: tags,
    Kind.REFERRERS: referrers,
    Kind.MANIFEST: manifests,
    Kind.BLOB: blobs,
    Kind.UPLOADS: begin,
    Kind.UPLOAD: proceed,
}
EVERYWHERE = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class RegistryApp:
    """Serves one workspace; ``log`` gets a line for each answer."""

    def __init__(self, distribution: Distribution, config: ServiceConfig, log: Log | None) -> None:
        self._distribution = distribution
        self._config = config
        self._log = log
        self.damage = DamageWatch(distribution.store)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == "http"
        began = time.monotonic()
        headers = Headers(scope=scope)
        body = RequestBody(receive, size=_content_length(headers), is_awaited="expect" in headers)
        try:
            response = await self._answer(scope, headers, body)
        except GoneError:
            response = Response(status_code=499)
        except Exception as error:
            response = refusal(error)
        response.headers.update(EVERYWHERE)
        if response.status_code >= 400 and not body.is_read and not await body.drain():
            response.headers["Connection"] = "close"
        await response(scope, receive, send)
        if self._log is not None:
            self._log(log_line(scope, response.status_code, time.monotonic() - began))

    async def _answer(self, scope: Scope, headers: Headers, body: RequestBody) -> Response:
        method = str(scope["method"])
        route = parse_path(scope["path"])
        if route is not None and route.kind is Kind.HEALTH and method in READING:
            return Response("ok\n", media_type="text/plain")
        check_browser(self._config, method, headers)
        if (refused := self._refused(method, headers)) is not None:
            return refused
        if route is None:
            return error_response(404, Code.NAME_INVALID, "there is no such path; see /v2/")
        if method not in METHODS[route.kind]:
            response = error_response(405, Code.UNSUPPORTED, "the method makes no sense here")
            response.headers["Allow"] = ", ".join(METHODS[route.kind])
            return response
        return await HANDLERS[route.kind](self._call(scope, method, route, headers, body))

    def _refused(self, method: str, headers: Headers) -> Response | None:
        token = token_of(headers.get("authorization"))
        # Not in a thread: it reads a few rows on a kept connection, in a quarter of the time that a
        # thread takes to answer; readers of the database wait for no writer.
        access = self._distribution.tokens.access(token)
        if access is None:
            return error_response(401, Code.UNAUTHORIZED, "a token is needed: docker login")
        if access != "write" and method not in READING:
            raise DistributionError(Code.DENIED, "the token may only read")
        return None

    def _call(
        self, scope: Scope, method: str, route: Route, headers: Headers, body: RequestBody
    ) -> Call:
        query = _query(scope["query_string"])
        return Call(self._distribution, self.damage, method, route, headers, query, body)


def _query(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(text.decode("ascii", "replace"), True, max_num_fields=64)
    except ValueError:
        raise DistributionError(Code.NAME_INVALID, "the path has too many parameters") from None
    return dict(pairs)


def _content_length(headers: Headers) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def log_line(scope: Scope, status: int, took_s: float) -> str:
    """A line of the access log."""
    client = scope.get("client") or ("-", 0)
    path = bytes(scope.get("raw_path", b"-"))[:2000].decode("ascii", "backslashreplace")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return f"{now} {client[0]} {scope['method']} {path} {status} {took_s * 1000:.1f}ms"
