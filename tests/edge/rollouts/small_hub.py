"""A hub of a few devices on a real database, which report what the test says."""

from __future__ import annotations

from pathlib import Path

from edge.hub import devices, publishing
from edge.hub.database import Database
from edge.hub.deployments import Deployments
from edge.hub.rollout_engine import RolloutEngine
from edge.hub.rollouts import Rollouts
from edge.messages.codec import encode
from edge.messages.desired import Desired, Module
from edge.messages.reported import Health, HostReport, ModuleReport, OutboxReport, Phase, Reported
from edge.messages.status import Status

OLD = "sha256:" + "0" * 64
NEW = "sha256:" + "1" * 64
NEWER = "sha256:" + "2" * 64
HOST = HostReport(1, 1, 1, 1, 0.0, 1.0, "boot")


def module(
    name: str = "digits", image: str = "digits:1", digest: str = OLD, **other: object
) -> Module:
    return Module(name, image, digest, **other)  # type: ignore[arg-type]


class SmallHub:
    """``now_ms`` is its clock."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.now_ms = 1_000_000
        self.database = Database(folder / "hub.db")
        self.database.migrate()
        self.deployments = Deployments(self.database, lambda: self.now_ms)
        self.rollouts = Rollouts(self.database, lambda: self.now_ms)
        self.engine = RolloutEngine(self.database)
        self._number = 0
        for name in names:
            self.enrol(name)

    def enrol(self, name: str, **tags: str) -> None:
        devices.enrol(self.database, name, now_ms=self.now_ms, tags=tags)
        self.connect(name)

    def connect(self, name: str, *, online: bool = True) -> None:
        status = Status(1, name, 1, online)
        with self.database.writer() as connection:
            devices.keep_status(connection, status, encode(status), self.now_ms)

    def tick(self, after_s: float = 1.0) -> list[str]:
        self.now_ms += int(after_s * 1000)
        return self.engine.tick(self.now_ms)

    def desired(self, name: str) -> Desired | None:
        with self.database.reader() as connection:
            return publishing.desired_for(connection, name)

    def digest(self, name: str, of: str = "digits") -> str | None:
        """What the device shall run."""
        desired = self.desired(name)
        found = [each.digest for each in desired.modules if each.name == of] if desired else []
        return found[0] if found else None

    def version(self, name: str) -> int:
        desired = self.desired(name)
        return desired.version if desired else 0

    def with_digest(self, digest: str, names: list[str]) -> list[str]:
        return [name for name in names if self.digest(name) == digest]

    def report(
        self,
        name: str,
        *,
        phase: Phase = "idle",
        health: Health = "healthy",
        digest: str | None = None,
        version: int | None = None,
        error: str | None = None,
    ) -> None:
        """By default: it runs what it shall, and well."""
        desired = self.desired(name)
        assert desired is not None
        self._number += 1
        reports = tuple(
            ModuleReport(
                each.name,
                each.image,
                digest or each.digest,
                each.digest,
                phase,
                health,
                error=error,
            )
            for each in desired.modules
        )
        at = desired.version if version is None else version
        reported = Reported(1, name, 1, self._number, at, at, reports, HOST, OutboxReport(0, 0))
        with self.database.writer() as connection:
            assert devices.keep_reported(connection, reported, encode(reported), self.now_ms)
