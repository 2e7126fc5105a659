"""The ASGI application: which route, its request, its answer. Errors leave as MLflow's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from registry import Workspace
from registry.blobs import BlobStore
from registry.kept_database import KeptDatabase
from registry.paths import WorkspacePaths
from registry.tracking import Tracking
from registry.tracking.entries import write_all
from runtime.mlflow_service import answers, artifacts
from runtime.mlflow_service.absent import absent
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.ledger import Ledger
from runtime.mlflow_service.limits import Limits
from runtime.mlflow_service.refusals import RefusedError, invalid, refusal
from runtime.mlflow_service.requests import Request, convert, decode
from runtime.mlflow_service.routes import Finder, Route
from runtime.mlflow_service.transfers import CutError, Transfers
from runtime.registry_service.refusals import GoneError
from runtime.registry_service.request_body import RequestBody

MAX_FIELDS = 64
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"no-store"),
]


class MlflowApp:
    """Serves one workspace, in one event loop. The name of who asks is in
    ``scope["state"]["who"]``, where it is known."""

    def __init__(self, workspace: Workspace, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._workspace = workspace
        paths = WorkspacePaths(workspace.root)
        self._database = KeptDatabase(paths.database)
        self._tracking = Tracking(paths, self._database, BlobStore(paths))
        self._threads = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="mlflow")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="mlflow-log")
        self._ledger = Ledger(
            partial(write_all, self._database), self._writer, self._limits.waiting
        )
        self._transfers = Transfers(self._limits, self._threads)
        self._finder = Finder()
        self._asking = 0

    def __repr__(self) -> str:
        return f"MlflowApp({str(self._workspace.root)!r})"

    def close(self) -> None:
        """Let go of the database and the threads; what is asked meanwhile is finished first."""
        self._transfers.close()
        self._threads.shutdown()
        self._writer.shutdown()
        self._database.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == "http"
        headers = Headers(scope=scope)
        size = headers.get("content-length", "")
        body = RequestBody(
            receive,
            size=int(size) if size.isascii() and size.isdigit() else None,
            is_awaited="expect" in headers,
        )
        try:
            answer = await self._answer(scope, headers, body, send)
            if answer is not None:
                await _respond(send, 200, answer)
        except GoneError:
            return
        except CutError:
            raise
        except Exception as error:
            refused = refusal(error)
            is_drained = body.is_read or await body.drain()
            await _respond(send, refused.status, refused.body, is_last=not is_drained)

    async def _answer(
        self, scope: Scope, headers: Headers, body: RequestBody, send: Send
    ) -> bytes | None:
        """The JSON to send; None where the answer was sent."""
        found = self._finder.find(str(scope["method"]), _path(scope))
        if found is None:
            raise absent(str(scope["method"]), _path(scope))
        route, arguments = found
        desk = Desk(self._workspace, self._tracking, self._limits, _who(scope), arguments)
        match route.kind:
            case "upload":
                await self._transfers.upload(desk, arguments["path"], body)
                return b"{}"
            case "download":
                await self._transfers.download(desk, arguments["path"], send)
                return None
            case "delete":
                await self._run(artifacts.delete, desk, arguments["path"])
                return b"{}"
        asked = await self._asked(route, arguments, scope, headers, body)
        answer: Any = route.answer
        if route.kind == "log":
            await self._ledger.log(answer(asked))
            return b"{}"
        if route.kind == "make":
            made = await self._ledger.log(answer(desk, asked))
            assert made is not None
            return msgspec.json.encode({"run": answers.run(made)})
        encoded: bytes = await self._run(_encoded, answer, desk, asked)
        return encoded

    async def _asked(
        self,
        route: Route,
        arguments: Mapping[str, str],
        scope: Scope,
        headers: Headers,
        body: RequestBody,
    ) -> Any:
        if route.method == "GET":
            return convert(route.request, {**_query(scope["query_string"]), **arguments})
        data = await body.all(self._limits.json_bytes, "the request")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if data and kind != "application/json":
            raise invalid("Bad Request. Content-Type must be application/json.")
        if not arguments:
            return decode(route.request, data)
        return convert(route.request, {**decode(dict[str, Any], data), **arguments})

    async def _run(self, function: Any, *args: Any) -> Any:
        if self._asking >= self._limits.waiting:
            raise RefusedError(429, "REQUEST_LIMIT_EXCEEDED", "too many requests wait")
        self._asking += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, function, *args)
        finally:
            self._asking -= 1


def _encoded(answer: Any, desk: Desk, asked: Request) -> bytes:
    return msgspec.json.encode(answer(desk, asked))


async def _respond(send: Send, status: int, body: bytes, *, is_last: bool = False) -> None:
    headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
    if is_last:
        headers.append((b"connection", b"close"))
    if status in (429, 503):
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _who(scope: Scope) -> str:
    state = scope.get("state")
    return str(state.get("who") or "") if isinstance(state, Mapping) else ""


def _query(text: bytes) -> dict[str, object]:
    """Each parameter's value; several values of one are a list."""
    try:
        sent = parse_qsl(text.decode("ascii"), True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise invalid("the query cannot be read") from None
    found: dict[str, object] = {}
    for key, value in sent:
        before = found.get(key)
        if before is None:
            found[key] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[key] = [before, value]
    return found
