"""The whole service as one ASGI application: which part answers a path, and a line for each answer.

/v2/..., /healthz                       images of the default workspace
/v2/NAME/...                            images of another one
/api/v1/..., /openapi.json              the verbs
/api/2.0/mlflow..., /mlflow/NAME/...    MLflow's REST
/ui/..., /                              the portal
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.registry_service.app import RegistryApp, log_line
from runtime.registry_service.config import ServiceConfig
from runtime.registry_service.door import token_of
from runtime.workspace_service.app import ApiApp
from runtime.workspace_service.mlflow import MlflowDoor, is_for_mlflow
from runtime.workspace_service.repositories import Prefixed, workspace_of
from runtime.workspace_service.routes import TABLE
from runtime.workspace_service.site import Site

Log = Callable[[str], None]


class Part(Protocol):
    """An ASGI application that can end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    def close(self) -> None:
        """Nothing is asked for any more."""


MakePart = Callable[[Site, ServiceConfig], Part]


class ServiceApp:
    """Serves one site; ``log`` gets a line for each answer. ``portal`` makes what answers at /ui:
    runtime/portal stands on this package, so whoever has both brings it along; None: there are no
    pages."""

    def __init__(
        self,
        site: Site,
        config: ServiceConfig,
        log: Log | None = None,
        *,
        portal: MakePart | None = None,
    ) -> None:
        self._site = site
        self._log = log
        self._registries: Mapping[str, ASGIApp] = {
            name: Prefixed(RegistryApp(distribution, config, None), name)
            for name, distribution in site.distributions.items()
        }
        self._api = ApiApp(site, config, TABLE)
        self._mlflow = MlflowDoor(site, config)
        self._portal = None if portal is None else portal(site, config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == "http"
        if self._log is None:
            await self._part(scope)(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._part(scope)(scope, receive, sending)
        finally:
            self._log(log_line(scope, status, time.monotonic() - began))

    def _part(self, scope: Scope) -> ASGIApp:
        path = str(scope["path"])
        if self._portal is not None and (path in ("/", "/ui") or path.startswith("/ui/")):
            return self._portal
        if path in ("/v2", "/v2/"):
            return self._registries[self._known_to(scope)]
        if path == "/healthz" or path.startswith("/v2/"):
            name = workspace_of(path, self._registries)
            return self._registries[name or self._site.default]
        return self._mlflow if is_for_mlflow(path) else self._api

    def close(self) -> None:
        """Finish what clients were told is kept."""
        self._mlflow.close()
        if self._portal is not None:
            self._portal.close()
        self._site.close()

    def _known_to(self, scope: Scope) -> str:
        """``docker login`` asks for no workspace: the first that knows the token may answer."""
        secret = token_of(Headers(scope=scope).get("authorization"))
        for name, distribution in self._site.distributions.items():
            if distribution.tokens.bearer(secret) is not None:
                return name
        return self._site.default


def print_line(line: str) -> None:
    """To standard output; whoever read it may have gone."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stdout, flush=True)
