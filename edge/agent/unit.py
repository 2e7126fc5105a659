"""TEMPORARY: a unit until edge/switch is there."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge.agent.modules import MayStart
from edge.errors import EdgeError
from edge.hosts.port import Instance, InstanceId, ModuleHost
from edge.keeping.keeper import LiveKeeper
from edge.messages.desired import Module
from edge.messages.reported import ModuleReport
from edge.stock.port import Puller


class PlainUnit:
    def __init__(self, name: str, may_start: MayStart, host: ModuleHost, puller: Puller) -> None:
        self.name = name
        self._may_start = may_start
        self._host = host
        self._puller = puller
        self._keeper = LiveKeeper(name, host)
        self._keeper.open()
        self._wanted: Module | None = None
        self._live: Module | None = None
        self._error: str | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        threading.Thread(target=self._run, name=f"unit {name}", daemon=True).start()

    def want(self, module: Module) -> None:
        self._wanted = module
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(1)
            self._wake.clear()
            module = self._wanted
            if module is None or module == self._live or not self._may_start():
                continue
            try:
                self._puller.pull(
                    module.image, module.digest, keep=[], on_progress=lambda a, b: None,
                    is_cancelled=self._stop.is_set,
                )  # fmt: skip
                self._host.prepare(module.digest, self._stop.is_set)
                self._error = None
            except EdgeError as error:
                self._error = str(error)
                continue
            self._live = module
            self._keeper.set(
                Instance(
                    InstanceId(self.name, "live"), module.digest, port=module.port or 0,
                    env=module.env,
                ),
                module.restart, module.probe,
            )  # fmt: skip

    def report(self) -> ModuleReport:
        view, live, wanted = self._keeper.view(), self._live, self._wanted
        return ModuleReport(
            self.name, live.image if live else None, view.digest,
            wanted.digest if wanted else None,
            "idle" if live == wanted and view.health == "healthy" else "starting", view.health,
            error=self._error or view.error, port=view.port,
        )  # fmt: skip

    def digests(self) -> set[str]:
        return {m.digest for m in (self._live, self._wanted) if m is not None}

    def restart(self) -> None:
        self._keeper.restart()

    def logs(self, lines: int) -> str:
        return self._host.logs(InstanceId(self.name, "live"), lines)

    def remove(self) -> None:
        self._stop.set()
        self._keeper.close()
        self._host.stop(InstanceId(self.name, "live"))

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._keeper.close()


MakePlain = Callable[[str, MayStart], PlainUnit]
