"""Which page is asked for, and what it says."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from registry.deployments import Deployments
from registry.errors import NotFoundError, RegistryError
from runtime.controller_service.health import stuck
from runtime.controller_service.metrics import CONTENT_TYPE, Told, metrics_page
from runtime.controller_service.rollouts import Rollouts
from runtime.controller_service.scale import Value, scale_document
from runtime.controller_service.view import View, view
from runtime.deployments.figures import ControllerFigures

ROUTES = "GET /metrics, /healthz and /scale/NAME"
_SCALE = re.compile(r"/scale/([a-z][a-z0-9-]{0,31})")


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    content_type: str
    body: bytes


class Pages:
    """Any thread may ask. ``clock``: that of the figures."""

    def __init__(
        self,
        deployments: Deployments,
        figures: Callable[[], ControllerFigures],
        *,
        more: Callable[[], bytes] = bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``more``: of the metrics, families of others."""
        self._deployments, self._figures, self._clock = deployments, figures, clock
        self._more = more
        self._rollouts = Rollouts(deployments)

    def __repr__(self) -> str:
        return f"Pages({self._rollouts})"

    def page(self, path: str) -> Page:
        """Of a path, its query left out. Never raises for what is asked."""
        path = path.partition("?")[0]
        try:
            if path == "/metrics":
                return Page(200, CONTENT_TYPE, self._metrics())
            if path == "/healthz":
                return self._health()
            scale = _SCALE.fullmatch(path)
            if scale is not None:
                return self._scale(scale[1])
        except RegistryError:  # its words may name files of this machine
            return _json(503, {"error": "the workspace cannot be read"})
        return _json(404, {"error": f"there is {ROUTES}"})

    def _metrics(self) -> bytes:
        found, now_s = self._figures(), self._clock()
        own = metrics_page(
            Told(
                self._views(found, now_s),
                max(0.0, now_s - found.began_s),
                max(0.0, now_s - found.balanced_s),
                found.haproxy_restarts,
                self._rollouts.counted(),
            )
        )
        return own + self._more()

    def _health(self) -> Page:
        """Without the workspace: that it cannot be read is not the controller's state."""
        found, now_s = self._figures(), self._clock()
        lines = stuck(
            {
                name: (each.ticks.is_alive, now_s - each.ticks.since_s)
                for name, each in found.deployments.items()
            },
            now_s - found.balanced_s,
        )
        document = {"status": "stuck" if lines else "ok", "stuck": lines}
        return _json(503 if lines else 200, document)

    def scale_of(self, name: str) -> Mapping[str, Value] | None:
        """The document of a deployment; None where there is none. Raises RegistryError."""
        try:
            declared = self._deployments.get(name)
        except NotFoundError:
            return None
        glance = self._figures().deployments.get(name)
        return scale_document(view(declared, glance, self._clock()))

    def _scale(self, name: str) -> Page:
        document = self.scale_of(name)
        if document is None:
            return _json(404, {"error": "there is no such deployment"})
        return _json(200, document)

    def _views(self, found: ControllerFigures, now_s: float) -> list[View]:
        return [
            view(declared, found.deployments.get(declared.name), now_s)
            for declared in self._deployments.list()
        ]


def _json(status: int, document: Mapping[str, object]) -> Page:
    return Page(status, "application/json", json.dumps(document).encode() + b"\n")
