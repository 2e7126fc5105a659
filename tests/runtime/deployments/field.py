"""Devices in the field, and the hub that hears them: its real database and rollouts, on a clock of
the test's. What devices do takes one step: they pull nothing, and report what they were told.

field = Field(workspace.root, {"press-1": {"line": "3"}})
field.broken[digest] = "no such file: labels.txt"
field.step()
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edge.hub import command_queue, devices, publishing
from edge.hub.database import Database
from edge.hub.deployments import Deployments as HubDeployments
from edge.hub.heartbeat import Heartbeat
from edge.hub.rollout_engine import RolloutEngine
from edge.hub.rollouts import Rollouts
from edge.messages.codec import encode
from edge.messages.commands import Reply
from edge.messages.desired import Desired, Module
from edge.messages.reported import HostReport, ModuleReport, OutboxReport, Reported
from edge.messages.status import Status
from runtime.deployments.hub import hub_of
from runtime.edge_hub import BEAT, edge_folder

HOST = HostReport(1, 1, 1, 1, 0.0, 1.0, "boot")
SAID = "press: hello"


class Field:
    """``broken``: what devices say of an image that fails on them; they keep what they had."""

    def __init__(self, root: Path, names: Mapping[str, Mapping[str, str]]) -> None:
        self.now_s = time.time()
        self.database: Database = hub_of(root)
        self.deployments = HubDeployments(self.database)
        self.rollouts = Rollouts(self.database, lambda: int(self.now_s * 1000))
        self.broken: dict[str, str] = {}
        self.offline: set[str] = set()
        self.is_hub_away = False
        self._runs: dict[tuple[str, str], Module] = {}
        self._engine = RolloutEngine(self.database)
        self._beat = Heartbeat(edge_folder(root) / BEAT)
        self._numbers = 0
        self._said: dict[str, tuple[int, tuple[ModuleReport, ...]]] = {}
        for name, tags in names.items():
            self.enrol(name, **tags)

    def enrol(self, name: str, **tags: str) -> None:
        """A new device."""
        devices.enrol(self.database, name, now_ms=int(self.now_s * 1000), tags=tags)
        self._say_status(name, is_online=True)

    def step(self, after_s: float = 1.0) -> None:
        """A moment passes: devices do what they were told and report, the hub goes on."""
        self.now_s += after_s
        if self.is_hub_away:
            return
        self._beat.run(int(self.now_s * 1000))
        with self.database.reader() as connection:
            every = devices.list_devices(connection)
        for each in every:
            is_online = each.name not in self.offline
            if each.is_online != is_online:
                self._say_status(each.name, is_online=is_online)
        self._report([each.name for each in every if each.name not in self.offline])
        self._answer()
        self._engine.tick(int(self.now_s * 1000))

    def running(self, name: str, module: str) -> str | None:
        """The digest."""
        found = self._runs.get((name, module))
        return None if found is None else found.digest

    def _say_status(self, name: str, *, is_online: bool) -> None:
        status = Status(1, name, 1, is_online)
        with self.database.writer() as connection:
            devices.keep_status(connection, status, encode(status), int(self.now_s * 1000))

    def _report(self, names: Sequence[str]) -> None:
        """Of those that have something new to say, in one transaction: each is durable."""
        made = []
        with self.database.reader() as connection:
            for name in names:
                desired = publishing.desired_for(connection, name)
                if desired is not None:
                    reports = self._module_reports(name, desired)
                    if self._said.get(name) != (desired.version, reports):
                        self._said[name] = desired.version, reports
                        made.append(self._reported(name, desired.version, reports))
        if made:
            with self.database.writer() as connection:
                for each in made:
                    devices.keep_reported(connection, each, encode(each), int(self.now_s * 1000))

    def _reported(self, name: str, version: int, reports: tuple[ModuleReport, ...]) -> Reported:
        self._numbers += 1
        box = OutboxReport(0, 0)
        return Reported(1, name, 1, self._numbers, version, version, reports, HOST, box)

    def _module_reports(self, name: str, desired: Desired) -> tuple[ModuleReport, ...]:
        wanted = {module.name for module in desired.modules}
        for key in [key for key in self._runs if key[0] == name and key[1] not in wanted]:
            del self._runs[key]
        return tuple(self._module_report(name, module) for module in desired.modules)

    def _module_report(self, name: str, module: Module) -> ModuleReport:
        why = self.broken.get(module.digest)
        if why is None:
            self._runs[name, module.name] = module
        runs = self._runs.get((name, module.name))
        return ModuleReport(
            module.name,
            None if runs is None else runs.image,
            None if runs is None else runs.digest,
            module.digest,
            "idle" if why is None else "failed",
            "stopped" if runs is None else "healthy",
            error=why,
            port=module.port or 40_001,
        )

    def _answer(self) -> None:
        """Who asks does so by the machine's clock, beside which this one may be far ahead."""
        now_ms = time.time_ns() // 1_000_000
        with self.database.reader() as connection:
            open_ = command_queue.open_commands(connection, now_ms)
            asked = [command_queue.command(connection, id, now_ms) for id in open_]
        for found in asked:
            if found is not None and found[0] not in self.offline:
                reply = Reply(1, found[1].id, True, f"{SAID} from {found[0]}\n")
                with self.database.writer() as connection:
                    command_queue.keep_reply(connection, found[0], reply, now_ms)


@contextlib.contextmanager
def living(field: Field) -> Iterator[Field]:
    """For the block time passes by itself, ten times as fast."""
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(0.02):
            field.step(0.2)

    thread = threading.Thread(target=live, name="field")
    thread.start()
    try:
        yield field
    finally:
        ended.set()
        thread.join()
