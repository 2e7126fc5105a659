"""What a device runs, and how it is. Sent at each change, each connection and each ``report_s``."""

from __future__ import annotations

from typing import Literal

import msgspec

Health = Literal["healthy", "unhealthy", "starting", "stopped"]
Phase = Literal[
    "idle", "waiting", "pulling", "loading", "starting", "gating", "shadowing", "switching",
    "watching", "rolling back", "failed",
]  # fmt: skip


class ModuleReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """``digest``: what answers now (None: nothing). ``wanted``: what shall. ``phase``: of the way
    from the one to the other; "idle" when they are equal, "failed" when ``wanted`` was tried and
    given up: ``error`` says why, ``check`` names the gate's check. ``waiting_for``: window, lock,
    order, network or space. ``done_bytes`` of ``total_bytes``: of a pull."""

    name: str
    image: str | None
    digest: str | None
    wanted: str | None
    phase: Phase
    health: Health
    host: str | None = None
    restarts: int = 0
    started_at_ms: int | None = None
    exit_code: int | None = None
    waiting_for: str | None = None
    done_bytes: int | None = None
    total_bytes: int | None = None
    error: str | None = None
    check: str | None = None
    previous: str | None = None
    port: int | None = None
    """Where it answers on the device; also when the device chose the port itself."""


class HostReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The machine: bytes, and load as of /proc/loadavg."""

    disk_free_bytes: int
    disk_total_bytes: int
    memory_available_bytes: int
    memory_total_bytes: int
    load1: float
    uptime_s: float
    boot_id: str
    temperature_c: float | None = None


class OutboxReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What waits, and what was dropped since the outbox was made."""

    records: int
    size_bytes: int
    oldest_age_s: float | None = None
    dropped: int = 0


class Reported(msgspec.Struct, frozen=True):
    """``epoch`` and ``number`` order the reports of a device: a later boot or start of the agent
    has a higher epoch, a later report of it a higher number. ``desired_version``: the newest that
    was read; ``applied_version``: the newest of which every module is idle or failed."""

    v: int
    device: str
    epoch: int
    number: int
    desired_version: int
    applied_version: int
    modules: tuple[ModuleReport, ...]
    host: HostReport
    outbox: OutboxReport
    error: str | None = None
    agent_version: str = ""
    time_ms: int | None = None
    """The device's estimate of the hub's time; None when it never heard it."""
