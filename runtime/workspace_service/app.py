"""The ASGI application of ``/api/v1``: which route, may they, its function, the answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from registry.activities import Activity
from registry.activities.origin import ServiceOrigin, begun_by
from registry.errors import RegistryError
from registry.pages import Page
from runtime.registry_service.config import ServiceConfig
from runtime.registry_service.door import check_browser
from runtime.registry_service.file_response import FileResponse
from runtime.registry_service.request_body import RequestBody
from runtime.workspace_service.answers import HEADERS, answer, refusal
from runtime.workspace_service.binding import bind
from runtime.workspace_service.call import Call
from runtime.workspace_service.door import identify
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.links import next_link
from runtime.workspace_service.openapi import document
from runtime.workspace_service.roles import allows
from runtime.workspace_service.route import Route
from runtime.workspace_service.site import Site
from runtime.workspace_service.table import API, Match, Table

MAX_BODY_BYTES = 16 * 1024 * 1024
SMALL_BYTES = 64 * 1024
"""Of a body that is read in no time; to read a larger one holds up nobody else."""
THREADS = 32
_log = logging.getLogger(__name__)


class ApiApp:
    """Serves the workspaces of one site."""

    def __init__(self, site: Site, config: ServiceConfig, table: Table) -> None:
        self._site = site
        self._config = config
        self._table = table
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")
        self._openapi = document(table)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = Headers(scope=scope)
        size = headers.get("content-length", "")
        body = RequestBody(
            receive,
            size=int(size) if size.isascii() and size.isdigit() else None,
            is_awaited="expect" in headers,
        )
        try:
            response = await self._answer(scope, headers, body)
        except Exception as error:
            response = refusal(error, self._site.hidden)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if response.status_code >= 400 and not body.is_read and not await body.drain():
            response.headers["Connection"] = "close"
        if scope["method"] == "HEAD" and not isinstance(response, JSONResponse | FileResponse):
            response = Response(status_code=response.status_code, headers=dict(response.headers))
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, headers: Headers, body: RequestBody) -> Response:
        method, path = str(scope["method"]), str(scope["path"])
        check_browser(self._config, method, headers)
        if path == "/openapi.json" and method in ("GET", "HEAD"):
            return JSONResponse(self._openapi)
        match = self._table.match(method, path)
        who = await self._in_thread(identify, self._site, match.workspace, headers)
        if who is None:
            raise Fault(401, "unauthorized", "a token is needed: Authorization: Bearer TOKEN")
        call = Call(
            site=self._site,
            workspace_name=match.workspace,
            who=who,
            client=str((scope.get("client") or ("-",))[0]),
            method=method,
            path=path,
            headers=headers,
            body=body,
        )
        if match.workspace:
            self._site.workspace(match.workspace)
        if not allows(who.role, match.route.role):
            await self._in_thread(self._refuse, call, match)
        values = await self._values(scope, headers, body, match)
        if not match.route.is_written_down:
            return await self._run(call, match, values)
        return await self._written_down(call, match, values)

    async def _values(
        self, scope: Scope, headers: Headers, body: RequestBody, match: Match
    ) -> dict[str, Any]:
        data = b""
        if not match.route.is_async:
            data = await body.all(MAX_BODY_BYTES, "a body")
        read = partial(
            bind,
            match.route,
            match.arguments,
            scope.get("query_string", b""),
            data,
            headers.get("content-type", ""),
        )
        return read() if len(data) <= SMALL_BYTES else await self._in_thread(read)

    async def _written_down(self, call: Call, match: Match, values: Mapping[str, Any]) -> Response:
        """The intent is on the disk before anything happens, and its end, if the disk takes it,
        before the answer."""
        entry = await self._in_thread(self._begin, call, match)
        status = 500
        try:
            response = await self._run(call, match, values)
            status = response.status_code
        except Exception as error:
            response = refusal(error, self._site.hidden)
            status = response.status_code
        finally:
            await asyncio.shield(self._in_thread(self._end, call, entry, status))
        return response

    async def _run(self, call: Call, match: Match, values: Mapping[str, Any]) -> Response:
        route = match.route
        if route.is_async:
            return self._answered(call, route, values, await route.function(call, **values))
        response: Response = await self._in_thread(
            lambda: self._answered(call, route, values, _called(call, route, values))
        )
        return response

    def _answered(
        self, call: Call, route: Route, values: Mapping[str, Any], result: Any
    ) -> Response:
        """A long list takes its time: not in the loop."""
        response = answer(result, route.status, call.headers.get("accept", ""))
        if isinstance(result, Page) and result.next_token is not None:
            response.headers["Link"] = next_link(route, values, result.next_token)
        if route.status == 202 and isinstance(result, Activity):
            where = f"{API}/workspaces/{quote(call.workspace_name)}/activities/{quote(result.id)}"
            response.headers["Operation-Location"] = where
        return response

    async def _in_thread(self, function: Any, *args: Any, **values: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **values))

    def _begin(self, call: Call, match: Match) -> int:
        return self._site.audit(call.workspace_name).begin(
            who=call.who.name,
            role=call.who.role,
            client=call.client,
            method=call.method,
            route=match.route.name,
            path=call.path,
        )

    def _end(self, call: Call, entry: int, status: int) -> None:
        """What cannot be written down is done all the same: a client that was told of an error
        would do it again."""
        try:
            self._site.audit(call.workspace_name).end(entry, status)
        except RegistryError as error:
            _log.error("the audit log lacks the end of entry %d, %d: %s", entry, status, error)

    def _refuse(self, call: Call, match: Match) -> None:
        with contextlib.suppress(RegistryError):  # it is refused, written down or not
            self._end(call, self._begin(call, match), 403)
        raise Fault(
            403,
            "forbidden",
            f"{call.who.name} is a {call.who.role}; this takes a {match.route.role}",
        )


def _called(call: Call, route: Route, values: Mapping[str, Any]) -> Any:
    """What the function gives; an activity that it begins knows how it was begun."""
    if not route.is_resumable:
        return route.function(call, **values)
    with begun_by(ServiceOrigin(route.name, msgspec.to_builtins(values))):
        return route.function(call, **values)
