"""What a power cut, or someone, took from what is in service: prepared again from the device's own
store, and fetched again if that lacks it.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.errors import EdgeError
from edge.pull.errors import CancelledError
from edge.switch.course import one_line
from edge.switch.record import Release
from edge.switch.service import Service
from edge.switch.tools import Tools


class Mending:
    """Of one module's ``service``."""

    def __init__(self, service: Service, tools: Tools) -> None:
        self._service = service
        self._tools = tools
        self._due = 0.0
        self.trouble: str | None = None
        """What kept it from mending, one line."""

    def look(
        self,
        live: Release,
        *,
        keep: Callable[[], set[str]],
        is_over: Callable[[], bool],
        is_stopping: Callable[[], bool],
    ) -> None:
        """For damage of ``live``, every ``mend_s``. ``keep``: images that must stay; ``is_over``:
        something else is to be done."""
        now = self._tools.clock()
        if now < self._due:
            return
        self._due = now + self._tools.pace.mend_s
        try:
            self._mend(live, keep, is_over, is_stopping)
            self.trouble = None
        except CancelledError:
            return
        except (EdgeError, OSError) as error:
            self.trouble = one_line(error)

    def _mend(
        self,
        live: Release,
        keep: Callable[[], set[str]],
        is_over: Callable[[], bool],
        is_stopping: Callable[[], bool],
    ) -> None:
        tools = self._tools
        for digest in live.digests:
            if not tools.stock.has(digest):
                tools.puller.pull(
                    live.module.image,
                    digest,
                    keep=keep,
                    on_progress=lambda done, total: None,
                    is_cancelled=is_over,
                )
        if self._service.view(live).health in ("unhealthy", "stopped"):
            self._service.host(live.host).prepare(live.runtime, is_stopping)
            self._service.folders.put("live", live.module.digest)
            self._service.folders.serve("live", live.module.digest)
