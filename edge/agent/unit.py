"""One module of this device: its updater, and the socket that its application speaks to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edge.agent.modules import MayStart
from edge.errors import HostError
from edge.hosts.port import InstanceId, Slot
from edge.messages.desired import Module
from edge.messages.reported import ModuleReport
from edge.outbox.record import NewRecord
from edge.switch.bundles import ModuleFolders
from edge.switch.updater import ModuleUpdater, Tools
from edge.telemetry.endpoint import ModuleEndpoint

log = logging.getLogger(__name__)
GRACE_S = 10.0
SLOTS: tuple[Slot, ...] = ("next", "live")


class ModuleUnit:
    """The Unit of edge/agent/modules.py."""

    def __init__(
        self,
        name: str,
        may_start: MayStart,
        tools: Tools,
        append: Callable[[Sequence[NewRecord]], object],
        hub_now_ms: Callable[[], int | None],
    ) -> None:
        self.name = name
        self._tools = tools
        folders = ModuleFolders(tools.state, name, tools.stock)
        self._endpoint = ModuleEndpoint(
            name, folders.run, append, tools.locks, hub_now_ms=hub_now_ms
        )
        try:
            folders.make()
            self._endpoint.open()
        except OSError as error:  # the module runs all the same; only its application is not heard
            log.error("%s: its socket cannot be made: %s", name, error.strerror or error)
        try:
            self._updater = ModuleUpdater(name, tools, may_start)
        except BaseException:
            self._endpoint.close()
            raise

    def want(self, module: Module) -> None:
        self._updater.want(module)

    def report(self) -> ModuleReport:
        return self._updater.report()

    def digests(self) -> set[str]:
        return self._updater.digests()

    def restart(self) -> None:
        self._updater.restart()

    def logs(self, lines: int) -> str:
        return self._updater.logs(lines)

    def remove(self) -> None:
        self._endpoint.close()
        self._updater.remove()

    def stop(self) -> None:
        self._updater.stop()
        self._endpoint.close()

    def halt(self) -> None:
        self.stop()
        for host in self._tools.hosts.values():
            for slot in SLOTS:
                try:
                    host.stop(InstanceId(self.name, slot), GRACE_S)
                except HostError as error:
                    log.warning("%s was not stopped: %s", self.name, error)
