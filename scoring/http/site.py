"""What one server process offers over HTTP: its routes, and what they ask about."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from scoring import model_swagger
from scoring.azure.cors import Cors
from scoring.azure.identity import TooLong, request_ids
from scoring.config import ServerConfig
from scoring.errors import InputError
from scoring.http.answer import Answer, Headers, error_answer
from scoring.http.app import NOT_ALLOWED, NOT_FOUND, create_app
from scoring.http.exchange import Exchange
from scoring.http.health_route import HealthRoute
from scoring.http.infer_route import InferRoute
from scoring.http.later import Later
from scoring.http.model_route import ModelRoute
from scoring.http.oip_routes import Control, OipRoutes
from scoring.http.script_route import METHODS, NOT_FAILED, ScriptRoute
from scoring.metrics import Ledger
from scoring.oip.routes import Ask, parse_path
from scoring.repository import ModelRepository
from scoring.service import ModelService, ScriptService
from scoring.watching.shadow import Shadow

PLAIN_PATHS = frozenset({"/", "/healthz", "/readyz", "/swagger.json", "/metrics"})
INFER = "/v2/models/infer"
"""What metrics call all infer routes: model names are labels elsewhere."""


class Site:
    """One of them for each server process."""

    def __init__(
        self,
        service: ScriptService | ModelRepository[ModelService],
        config: ServerConfig,
        ledger: Ledger,
        *,
        snapshots: Callable[[], list[bytes]],
        is_other_ready: Callable[[], bool] = lambda: False,
        control: Control | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.service = service
        self.config = config
        self.ledger = ledger
        self.snapshots = snapshots
        self.is_draining = False
        self._is_other_ready = is_other_ready
        self._shadow = shadow
        self.is_script = isinstance(service, ScriptService)
        self.triton_metrics = config.watching.triton_metrics
        self.failed_headers: Headers = (NOT_FAILED,) if self.is_script else ()
        self.server_version = config.server_version if self.is_script else None
        self._cors = Cors(config.cors_origins) if config.cors_origins else None
        self._infer: dict[str, InferRoute] = {}
        self._later = Later()
        self._score = self._score_route()
        self._health = {path: HealthRoute(path) for path in ("/", "/healthz")}
        models = None if isinstance(service, ScriptService) else service
        self._oip = OipRoutes(models, config, snapshots, self._not_ready, control)
        self.asgi = create_app(self)

    def match(
        self, method: str, path: str
    ) -> ScriptRoute | ModelRoute | InferRoute | HealthRoute | None:
        """The route of a request below ASGI; None: Starlette answers."""
        if path == "/score":
            # The reference server's 405 has none of the headers of a scoring request's answer.
            return self._score if not self.is_script or method in METHODS else None
        if path in self._health and method in ("GET", "HEAD"):
            return self._health[path]
        if not path.endswith("/infer") or not path.startswith("/v2/models/"):
            return None
        found = self._infer.get(path)
        if found is None:
            found = self._infer_route(path)
            if found is not None and len(self._infer) < 1000:
                self._infer[path] = found
        return found

    def set_eager(self, is_eager: bool) -> None:
        """Whether there is one client at most: then nothing is gained by looking for others."""
        services = (
            [self.service] if isinstance(self.service, ScriptService) else (self.service.services)
        )
        for service in services:
            service.dispatcher.is_eager = is_eager

    def refuse_unread(self, method: str, path: str) -> Answer | None:
        """The answer to a body that is offered to a path which takes none."""
        if path in PLAIN_PATHS:
            return None if method in ("GET", "HEAD") else self.refuse(405, NOT_ALLOWED)
        return self.refuse(404, NOT_FOUND)

    @property
    def not_ready(self) -> str | None:
        """Why no request can be answered; None when one can."""
        return self._not_ready()

    def swagger(self) -> tuple[dict[str, object], list[str]] | None:
        """Documents by version alias, and the versions; None while loading."""
        service = self.service
        if isinstance(service, ScriptService):
            script = service.engine.script
            return None if script is None else (script.swagger, script.swagger_versions)
        main = service.main
        if main is None or not main.engine.is_loaded:
            return None
        documents = model_swagger.documents(
            main.engine.signature, name=main.name, version=main.version
        )
        return dict(documents), ["2", "3", "3.1"]

    def refuse(self, status: int, message: str) -> Answer:
        """An error that the server itself answers."""
        return error_answer(status, message, self.failed_headers)

    def finish(self, exchange: Exchange, answer: Answer, route: str) -> Answer:
        """The same with ids and CORS; an id that is too long is a 431."""
        ids = request_ids(exchange.headers, lambda: str(uuid.uuid4()))
        if isinstance(ids, TooLong):
            answer = self.refuse(431, ids.message)
        names = {name.lower() for name, _ in answer.headers}
        added = []
        if self._cors is not None and "access-control-allow-origin" not in names:
            added += self._cors.response_headers(exchange.method, exchange.headers)
        if self.server_version:
            added.append(("x-ms-server-version", self.server_version))
        pairs = ids.response_headers()
        added += [pair for pair in pairs if pair[0] == "TraceId"]
        self.ledger.answered(route, answer.status, 0.0)
        return answer.with_more(added).with_headers(p for p in pairs if p[0] != "TraceId")

    async def oip(self, exchange: Exchange) -> Answer:
        """Everything below /v2 but infer."""
        return await self._oip.answer(exchange)

    def _not_ready(self) -> str | None:
        if self.is_draining:
            return "the server is stopping"
        service = self.service
        if isinstance(service, ScriptService):
            is_ready, reason = service.engine.ready, service.engine.broken or "no worker is ready"
        else:
            is_ready, reason = service.is_ready, service.trouble or "no model is ready"
        return None if is_ready or self._is_other_ready() else reason

    def _score_route(self) -> ScriptRoute | ModelRoute:
        deadline_ms = self.config.limits.deadline_ms
        service = self.service
        if isinstance(service, ScriptService):
            return ScriptRoute(service, deadline_ms=deadline_ms, shadow=self._shadow)
        return ModelRoute(
            lambda: service.main,
            self.ledger,
            self._later,
            deadline_ms=deadline_ms,
            shadow=self._shadow,
        )

    def _infer_route(self, path: str) -> InferRoute | None:
        try:
            route = parse_path(path)
        except InputError:
            return None
        if route is None or route.ask is not Ask.INFER or self.is_script:
            return None
        service = self.service
        assert not isinstance(service, ScriptService)
        return InferRoute(
            INFER,
            partial(_find, service, route.model, route.version or None),
            self.ledger,
            self._later,
            body_bytes=self.config.limits.body_bytes,
            deadline_ms=self.config.limits.deadline_ms,
            shadow=self._shadow,
        )


def _find(models: ModelRepository[ModelService], name: str, version: str | None) -> ModelService:
    return models.find(name, version)
