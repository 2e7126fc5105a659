"""MLflow's REST in this service: who may ask what, and which workspace is meant.

MLFLOW_TRACKING_URI=https://host:5000               the default workspace
MLFLOW_TRACKING_URI=https://host:5000/mlflow/NAME   another one
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from registry.audit import Audit
from registry.distribution import DistributionError
from registry.errors import RegistryError
from runtime.mlflow_service import MlflowApp
from runtime.mlflow_service.routes import Finder, Route
from runtime.registry_service.config import ServiceConfig
from runtime.registry_service.door import check_browser
from runtime.registry_service.request_body import RequestBody
from runtime.workspace_service.answers import HEADERS
from runtime.workspace_service.door import identify
from runtime.workspace_service.roles import Who, allows
from runtime.workspace_service.site import Site

ROOTS = ("/api/2.0/mlflow", "/api/3.0/mlflow", "/ajax-api/2.0/mlflow", "/ajax-api/3.0/mlflow")
PREFIX = "/mlflow/"


def is_for_mlflow(path: str) -> bool:
    """Whether MLflow's REST answers it."""
    return path.startswith((*ROOTS, PREFIX))


class MlflowDoor:
    """Serves the workspaces of one site."""

    def __init__(self, site: Site, config: ServiceConfig) -> None:
        self._site = site
        self._config = config
        self._apps: dict[str, MlflowApp] = {}
        self._finder = Finder()

    def close(self) -> None:
        """Finish what was logged, and let go of the databases."""
        for app in self._apps.values():
            app.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        workspace, inner = self._meant(scope)
        headers = Headers(scope=scope)
        try:
            check_browser(self._config, str(scope["method"]), headers)
        except DistributionError as error:
            await _refuse(scope, receive, send, 403, "PERMISSION_DENIED", str(error))
            return
        # Not in a thread: it reads a few rows on a kept connection.
        who = identify(self._site, workspace, headers)
        if who is None:
            said = "a token is needed: MLFLOW_TRACKING_TOKEN"
            await _refuse(scope, receive, send, 401, "UNAUTHENTICATED", said)
            return
        if workspace not in self._site.names:
            said = "there is no such workspace here"
            await _refuse(scope, receive, send, 404, "RESOURCE_DOES_NOT_EXIST", said)
            return
        path = str(inner["path"]).removeprefix(str(inner.get("root_path", "")))
        found = self._finder.find(str(scope["method"]), path)
        inner["state"] = {**scope.get("state", {}), "who": who.name}
        route = None if found is None else found[0]
        if not allows(who.role, "reader" if route is None else route.role):
            await self._forbid(scope, receive, send, workspace, who, route)
        elif route is None or route.role == "reader" or route.kind == "log":
            await self._app(workspace)(inner, receive, send)
        else:
            await self._written_down(inner, receive, send, workspace, who, route)

    def _meant(self, scope: Scope) -> tuple[str, Scope]:
        path = str(scope["path"])
        if not path.startswith(PREFIX):
            return self._site.default, dict(scope)
        name = path.removeprefix(PREFIX).partition("/")[0]
        return name, {**scope, "root_path": f"{PREFIX}{name}"}

    def _app(self, workspace: str) -> MlflowApp:
        if workspace not in self._apps:
            self._apps[workspace] = MlflowApp(self._site.workspace(workspace))
        return self._apps[workspace]

    async def _written_down(
        self, scope: Scope, receive: Receive, send: Send, workspace: str, who: Who, route: Route
    ) -> None:
        audit, status = self._site.audit(workspace), 500
        try:
            entry = await asyncio.to_thread(_entry(audit, scope, who, route))
        except RegistryError as error:
            await _refuse(scope, receive, send, 507, "RESOURCE_EXHAUSTED", str(error))
            return

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                with contextlib.suppress(RegistryError):
                    await asyncio.to_thread(audit.end, entry, status)
            await send(message)

        await self._app(workspace)(scope, receive, sending)

    async def _forbid(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        workspace: str,
        who: Who,
        route: Route | None,
    ) -> None:
        audit, needed = self._site.audit(workspace), "reader" if route is None else route.role
        with contextlib.suppress(RegistryError):  # it is refused, written down or not
            entry = await asyncio.to_thread(_entry(audit, scope, who, route))
            await asyncio.to_thread(audit.end, entry, 403)
        said = f"{who.name} is a {who.role}; this takes a {needed}"
        await _refuse(scope, receive, send, 403, "PERMISSION_DENIED", said)


def _entry(audit: Audit, scope: Scope, who: Who, route: Route | None) -> partial[int]:
    name = "unknown" if route is None else route.path.rpartition("/mlflow/")[2]
    return partial(
        audit.begin,
        who=who.name,
        role=who.role,
        client=str((scope.get("client") or ("-",))[0]),
        method=str(scope["method"]),
        route=f"mlflow.{name}",
        path=str(scope["path"]),
    )


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str
) -> None:
    said = message.encode("ascii", "backslashreplace").decode()[:2000]
    response = Response(
        msgspec.json.encode({"error_code": code, "message": said}),
        status,
        media_type="application/json",
    )
    response.headers.update(HEADERS)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="inferry"'
    body = RequestBody(receive, size=None, is_awaited="expect" in Headers(scope=scope))
    if not await body.drain():
        response.headers["Connection"] = "close"
    await response(scope, receive, send)
