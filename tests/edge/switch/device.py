"""A device whose modules, images and network are of memory, and its unit of one module."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge.errors import NotFoundError, PullError
from edge.hosts.memory import Behaviour, MemoryHost
from edge.keeping.keeper import LiveKeeper
from edge.messages.desired import Module, Update
from edge.messages.reported import ModuleReport
from edge.stock.port import Collected, StoredImage, StoredLayer
from edge.switch.locks import LockBoard
from edge.switch.record import Records
from edge.switch.tools import Pace, Tools
from edge.switch.updater import ModuleUpdater

PATIENCE_S = 60.0
QUICK = Pace(
    look_s=0.02,
    start_look_s=0.01,
    settle_s=0.0,
    first_retry_s=0.05,
    max_retry_s=0.2,
    probe_s=0.05,
    order_s=0.5,
)
GOLDEN = {"v": 1, "cases": [{"input": {"data": [1]}}]}


def digest(number: int) -> str:
    """Of the image digits:<number>."""
    return f"sha256:{number:064x}"


def answers(text: str) -> Callable[[bytes], tuple[int, bytes]]:
    """A scoring server that knows one answer."""
    return lambda body: (200, text.encode())


GOOD = Behaviour(score=answers('{"y": [1.0]}'))


def stored_image(number: int, packages: int) -> StoredImage:
    """``packages``: images of the same can serve each other's bundles."""
    layers = (
        StoredLayer(digest(1000 + packages), 1, "", "dependencies", digest(1000 + packages)),
        StoredLayer(digest(2000 + number), 1, "", "code", digest(2000 + number)),
    )
    return StoredImage(
        digest(number), "container", "digits", number, layers, b"{}", digest(9), "python3.11"
    )


class MemoryStock:
    """The Stock: images of small bundles."""

    def __init__(self, folder: Path, golden: Mapping[int, Any]) -> None:
        self.images: dict[str, StoredImage] = {}
        self._folder = folder
        self._golden = golden

    def has(self, digest: str) -> bool:
        return digest in self.images

    def image(self, digest: str) -> StoredImage:
        if digest not in self.images:
            raise NotFoundError(digest)
        return self.images[digest]

    def bundle(self, digest: str) -> Path:
        folder = self._folder / "bundles" / digest.removeprefix("sha256:")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bundle.json").write_text("{}")
        return folder

    def golden(self, digest: str) -> bytes | None:
        found = self._golden.get(int(digest.removeprefix("sha256:"), 16), GOLDEN)
        return None if found is None else json.dumps(found).encode()

    def chunks(self, digest: str) -> Any:
        raise NotImplementedError

    def collect(self, keep: Any, wanted_bytes: int) -> Collected:
        return Collected(0, 0)


class MemoryPuller:
    """The Puller of a registry that has everything; ``error`` is what it raises instead."""

    def __init__(self, stock: MemoryStock, packages: Callable[[int], int]) -> None:
        self.calls: list[str] = []
        self.error: PullError | None = None
        self._stock = stock
        self._packages = packages

    def pull(
        self,
        image: str,
        digest: str,
        *,
        keep: Callable[[], Collection[str]],
        on_progress: Callable[[int, int], None],
        is_cancelled: Callable[[], bool],
    ) -> StoredImage:
        self.calls.append(image)
        if self.error is not None:
            raise self.error
        number = int(digest.removeprefix("sha256:"), 16)
        self._stock.images[digest] = stored_image(number, self._packages(number))
        on_progress(1, 1)
        return self._stock.images[digest]


class Device:
    """``behaviours`` and ``golden`` by the number of the image; ``packages``: see
    ``stored_image``."""

    def __init__(
        self,
        folder: Path,
        behaviours: Mapping[int, Behaviour],
        *,
        golden: Mapping[int, Any] | None = None,
        packages: Callable[[int], int] = lambda number: number,
        now_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        known = {digest(number): behaviour for number, behaviour in behaviours.items()}
        self.host = MemoryHost(known, kind="docker")
        self.stock = MemoryStock(folder, golden or {})
        self.puller = MemoryPuller(self.stock, packages)
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.locks = LockBoard()
        self.records = Records(folder / "state.db")
        self.turn = True
        self.tools = Tools(
            folder,
            {"docker": self.host},
            self.stock,
            self.puller,
            self.records,
            locks=self.locks,
            now_s=now_s,
            event=lambda kind, body: self.events.append((kind, body)),
            make_keeper=lambda name, host: LiveKeeper(name, host, look_s=0.05),
            pace=QUICK,
        )
        self.unit = self._unit()

    def _unit(self, *, is_started: bool = True) -> ModuleUpdater:
        return ModuleUpdater("digits", self.tools, lambda: self.turn, is_started=is_started)

    def restart_agent(self) -> None:
        """Another process takes over; what runs goes on."""
        self.unit.stop()
        self.unit = self._unit()

    def want(self, number: int, **changed: Any) -> Module:
        """digits:<number> shall run."""
        update = changed.pop("update", Update(watch_s=0.1, start_s=2.0))
        module = Module("digits", f"digits:{number}", digest(number), update=update, **changed)
        self.unit.want(module)
        return module

    def settle(self, number: int, **changed: Any) -> ModuleReport:
        """The report once digits:<number> is in service, or given up."""
        module = self.want(number, **changed)
        return self.wait(
            lambda r: r.wanted == module.digest and r.phase in ("idle", "failed")
            and (r.phase == "failed" or r.image == module.image) and r.health == "healthy"
        )  # fmt: skip

    def wait(self, is_so: Callable[[ModuleReport], bool]) -> ModuleReport:
        """The report when it is so; the last one is in the failure."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(report := self.unit.report()):
            assert time.monotonic() < deadline, report
            time.sleep(0.01)
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unit.stop()
        self.host.close()
        self.records.close()
