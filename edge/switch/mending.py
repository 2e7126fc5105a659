"""What a power cut, or someone, took from what is in service: prepared again from the device's own
store, and fetched again if that lacks it.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.switch.record import Release
from edge.switch.service import Service
from edge.switch.tools import Tools


class Mending:
    """Of one module's ``service``."""

    def __init__(self, service: Service, tools: Tools) -> None:
        self._service = service
        self._tools = tools
        self._due = 0.0

    def look(
        self,
        live: Release,
        *,
        keep: Callable[[], set[str]],
        is_over: Callable[[], bool],
        is_stopping: Callable[[], bool],
    ) -> None:
        """For damage of ``live``, every ``mend_s``. ``keep``: images that must stay; ``is_over``:
        something else is to be done. Raises EdgeError, OSError."""
        tools = self._tools
        now = tools.clock()
        if now < self._due:
            return
        self._due = now + tools.pace.mend_s
        for digest in live.digests:
            if not tools.stock.has(digest):
                tools.puller.pull(
                    live.module.image,
                    digest,
                    keep=sorted(keep()),
                    on_progress=lambda done, total: None,
                    is_cancelled=is_over,
                )
        if self._service.view(live).health in ("unhealthy", "stopped"):
            self._service.host(live.host).prepare(live.runtime, is_stopping)
            self._service.folders.put("live", live.module.digest)
            self._service.folders.serve("live", live.module.digest)
