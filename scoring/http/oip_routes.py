"""Everything below /v2 that is not infer: health, metadata, statistics, loading and unloading."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from scoring.config import ServerConfig
from scoring.errors import InputError, ScoringError, UnavailableError
from scoring.http.answer import JSON, Answer
from scoring.http.exchange import Exchange
from scoring.http.infer_route import oip_answer, oip_error
from scoring.metrics import statistics
from scoring.metrics.snapshot import combine
from scoring.oip import documents
from scoring.oip.documents import IndexEntry
from scoring.oip.routes import Ask, Route, parse_path
from scoring.repository import ModelRepository
from scoring.service import ModelService

NO_MODELS = "this server runs a score.py: POST /score; it has no models to ask by name"
Control = Callable[[str, str], Awaitable[None]]
"""control("load" or "unload", model) does so in every process; raises ScoringError."""


class OipRoutes:
    """``models`` is None for a score.py, which answers POST /score only."""

    def __init__(
        self,
        models: ModelRepository[ModelService] | None,
        config: ServerConfig,
        snapshots: Callable[[], list[bytes]],
        not_ready: Callable[[], str | None],
        control: Control | None,
    ) -> None:
        self._models = models
        self._config = config
        self._snapshots = snapshots
        self._not_ready = not_ready
        self._control = control

    async def answer(self, exchange: Exchange) -> Answer:
        """The answer to one request."""
        try:
            route = parse_path(exchange.raw_path)
            if route is None:
                return oip_error(404, "there is no such path in the Open Inference Protocol")
            method = "GET" if exchange.method == "HEAD" else exchange.method
            if method not in route.ask.methods:
                allow = ", ".join(route.ask.methods)
                return oip_error(405, f"this path takes {allow}", [("Allow", allow)])
            return await self._answer(route, exchange)
        except ScoringError as error:
            return oip_answer(error)

    async def _answer(self, route: Route, exchange: Exchange) -> Answer:
        if route.ask is Ask.SERVER:
            return _json(documents.server_metadata(_version(), self._config.server_name))
        if route.ask is Ask.LIVE:
            return _json(documents.live_document(is_live=True))
        if route.ask is Ask.READY:
            is_ready = self._not_ready() is None
            document = documents.ready_document(is_ready=is_ready)
            return _json(document, 200 if is_ready else 503)
        if route.ask is Ask.NOT_OFFERED:
            return oip_error(501, documents.not_offered(route.why))
        if self._models is None:
            return oip_error(501, NO_MODELS)
        return await self._of_models(self._models, route, exchange)

    async def _of_models(
        self, models: ModelRepository[ModelService], route: Route, exchange: Exchange
    ) -> Answer:
        name, version = route.model, route.version or None
        if route.ask is Ask.INDEX:
            entries = [
                IndexEntry(line.name, str(line.version), line.is_ready, line.reason)
                for line in models.index()
            ]
            asked = _object(exchange.body)
            return _json(documents.repository_index(entries, only_ready=asked.get("ready") is True))
        if route.ask in (Ask.LOAD, Ask.UNLOAD):
            return await self._change(models, route)
        if route.ask is Ask.STATS:
            return self._statistics(models, route)
        if route.ask is Ask.MODEL_READY:
            try:
                found = models.find(name, version)
                if not found.engine.ready:
                    raise UnavailableError(found.engine.trouble or "the model is not ready")
            except ScoringError as error:
                document = documents.model_ready_document(name, is_ready=False)
                return _json({**document, "error": str(error)}, oip_answer(error).status)
            return _json(documents.model_ready_document(name, is_ready=True))
        service = models.find(name, version)
        versions = (
            [str(number) for number in models.versions(name)] if version is None else [version]
        )
        signature = service.engine.signature
        if route.ask is Ask.METADATA:
            return _json(documents.model_metadata(name, versions, signature, service.platform))
        batches = service.dispatcher.max_batch if service.engine.merging.allowed else 0
        return _json(
            documents.model_config(
                name,
                versions,
                signature,
                max_batch_size=batches,
                filename=service.filename,
                platform=service.platform,
            )
        )

    async def _change(self, models: ModelRepository[ModelService], route: Route) -> Answer:
        models.versions(route.model)  # raises when there is no such model
        if self._control is None:
            return oip_error(501, documents.not_offered("loading and unloading"))
        what = "load" if route.ask is Ask.LOAD else "unload"
        try:
            await self._control(what, route.model)
        except ScoringError as error:
            return oip_error(400, documents.failed_to_load(route.model, str(error)))
        return Answer(200, (("Content-Type", JSON),))

    def _statistics(self, models: ModelRepository[ModelService], route: Route) -> Answer:
        totals = combine(self._snapshots())
        wanted = [
            (line.name, str(line.version))
            for line in models.index()
            if (not route.model or line.name == route.model)
            and (not route.version or str(line.version) == route.version)
        ]
        if route.model:
            service = models.find(route.model, route.version or None)
            wanted = [(service.name, str(service.version))]
        return _json({"model_stats": [statistics(totals, *key) for key in wanted]})


def _version() -> str:
    """Inferry's own; an image has the server's files, but no distribution of that name."""
    try:
        return importlib.metadata.version("inferry")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _json(document: Any, status: int = 200) -> Answer:
    return Answer(status, (("Content-Type", JSON),), orjson.dumps(document))


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InputError("the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise InputError("the body is no JSON object")
    return found
