"""Checks of the machine and of what lies on its disk."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import sqlite3
import stat
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from edge.agent import machine
from edge.agent.check import Check, Probe, fail, ok, warn
from edge.agent.config import AgentConfig, reserve_bytes
from edge.agent.state import DATABASE, lock_holder
from edge.agent.view import REPORTED_FILE, kept_desired, kept_report

EPOCH_OF_PROGRAM_S = 1_767_225_600
"""2026-01-01: no clock that is right is before it."""
CLOCK_OFF_S = 30
LEAST_MEMORY_BYTES = 64 << 20
CERTIFICATE_SOON_S = 30 * 86_400


def clock(config: AgentConfig) -> Check:
    """Against the hub's, if that was ever heard."""
    now = time.time()
    if now < EPOCH_OF_PROGRAM_S:
        return fail(
            "clock",
            f"it says {_day(now)}, which is past",
            "set the time (timedatectl set-ntp true): certificates look not yet valid",
        )
    from edge.clock import DeviceClock

    hub_ms = DeviceClock(config.state / "clock.json").hub_now_ms()
    if hub_ms is None:
        return ok("clock", f"{_day(now)}; the hub's time was not heard in this boot")
    off_s = now - hub_ms / 1000
    if abs(off_s) > CLOCK_OFF_S:
        return warn(
            "clock",
            f"{abs(off_s):.0f} s {'before' if off_s > 0 else 'behind'} the hub's",
            "telemetry has the hub's time all the same; set the clock for certificates",
        )
    return ok("clock", f"{_day(now)}, {off_s:+.1f} s of the hub's")


def disk(config: AgentConfig) -> Check:
    """Room above the reserve."""
    found = machine.report(_existing(config.state))
    reserve = reserve_bytes(config.disk.reserve_bytes, found.disk_total_bytes)
    words = f"{_mib(found.disk_free_bytes)} of {_mib(found.disk_total_bytes)} free"
    if found.disk_free_bytes <= reserve:
        return fail(
            "disk",
            f"{words}, the reserve is {_mib(reserve)}",
            "free some space: no image can be fetched",
        )
    if found.disk_free_bytes < 2 * reserve:
        return warn("disk", f"{words}, the reserve is {_mib(reserve)}", "free some space soon")
    return ok("disk", words)


def memory(config: AgentConfig) -> Check:
    """What the kernel says is to be had."""
    found = machine.report(_existing(config.state))
    words = f"{_mib(found.memory_available_bytes)} of {_mib(found.memory_total_bytes)} available"
    if found.memory_available_bytes < LEAST_MEMORY_BYTES:
        return warn("memory", words, "limit what modules may use (--memory)")
    return ok("memory", words)


def state_folder(config: AgentConfig) -> Check:
    """A file can be written, synced and renamed there."""
    name = "state-folder"
    if not config.state.is_dir():
        return fail(name, f"{config.state} is no folder", "the agent makes it at its first start")
    try:
        with tempfile.NamedTemporaryFile(dir=config.state, prefix=".check-") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return fail(
            name,
            f"{config.state}: {error.strerror}",
            "make it writable for the agent's user; a disk that became read-only needs a repair",
        )
    return ok(name, f"{config.state} can be written")


def agent(config: AgentConfig) -> Check:
    """One runs with this folder."""
    holder = lock_holder(config.state)
    if holder is None:
        return warn("agent", "none runs with this state folder", "start it: python3 -m edge agent")
    return ok("agent", f"runs as process {holder}")


def databases(config: AgentConfig) -> Check:
    """They are whole."""
    name = "databases"
    seen = []
    for path in (config.state / DATABASE, config.state / "outbox.db"):
        if not path.exists():
            continue
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as connection:
            try:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.OperationalError as error:
                return warn(name, f"{path.name}: {error}", "run this as the agent's user")
            except sqlite3.DatabaseError as error:
                found = str(error)
        if found != "ok":
            return fail(
                name, f"{path.name} is damaged", "restart the agent: it puts the file aside"
            )
        seen.append(path.name)
    return ok(name, f"{' and '.join(seen)} whole" if seen else "there are none yet")


def certificates(config: AgentConfig) -> Check:
    """Of this device, now, and with its key."""
    name = "certificates"
    if not config.broker.tls:
        return warn(name, "broker.tls is false", "use TLS beyond this machine")
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    enrol = "enroll the device again: inferry edge enroll"
    try:
        made = x509.load_pem_x509_certificate((config.identity / "device.pem").read_bytes())
        key = load_pem_private_key((config.identity / "device.key").read_bytes(), None)
        authority = x509.load_pem_x509_certificate((config.identity / "ca.pem").read_bytes())
    except OSError as error:
        return fail(name, f"{error.filename}: {error.strerror}", enrol)
    except ValueError:
        return fail(name, f"a file in {config.identity} is damaged", enrol)
    names = made.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if [found.value for found in names] != [config.device]:
        return fail(name, "device.pem is of another device", enrol)
    if made.public_key() != key.public_key():
        return fail(name, "device.key does not belong to device.pem", enrol)
    now = datetime.fromtimestamp(time.time(), UTC)
    for what, one in (("device.pem", made), ("ca.pem", authority)):
        if now < one.not_valid_before_utc:
            return fail(name, f"{what} is not valid yet", "set the clock")
        if now > one.not_valid_after_utc:
            return fail(name, f"{what} ended on {one.not_valid_after_utc:%Y-%m-%d}", enrol)
        if (one.not_valid_after_utc - now).total_seconds() < CERTIFICATE_SOON_S:
            return warn(name, f"{what} ends on {one.not_valid_after_utc:%Y-%m-%d}", enrol)
    mode = stat.S_IMODE((config.identity / "device.key").stat().st_mode)
    if mode & 0o077:
        return warn(name, f"device.key can be read by others ({mode:o})", "chmod 600 device.key")
    return ok(name, f"of {config.device}, until {made.not_valid_after_utc:%Y-%m-%d}")


def signing_key(config: AgentConfig) -> Check:
    """Without it no image is trusted."""
    name = "signing-key"
    path = config.identity / "signing.pub"
    try:
        found = path.read_bytes()
    except OSError:
        return fail(
            name, f"{path} cannot be read", "copy the workspace's signing.pub: inferry edge enroll"
        )
    from registry.errors import TrustError
    from registry.trust import parse_public_key

    try:
        key = parse_public_key(found)
    except TrustError as error:
        return fail(name, f"{path.name}: {error}", "copy the workspace's signing.pub again")
    return ok(name, f"images signed by {key.key_id[:16]} are trusted")


def docker(config: AgentConfig) -> Check:
    """The engine answers."""
    name = "docker"
    if config.modules.hosts is not None and "docker" not in config.modules.hosts:
        return ok(name, "not wanted by modules.hosts")
    address = config.modules.docker or os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
    path = address.removeprefix("unix://")
    is_needed = config.modules.hosts is not None
    if "://" in path:
        return ok(name, f"at {path}, which is not asked")
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(5)
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
            answer = connection.recv(4096)
    except OSError as error:
        told = f"{path}: {error.strerror or error}"
        if is_needed:
            return fail(name, told, "start Docker, or say modules.hosts = ['process']")
        return ok(name, f"none here ({told}); modules run as processes")
    if not answer.startswith(b"HTTP/1.1 200"):
        return fail(name, f"{path} answers {answer[:40]!a}", "restart Docker")
    return ok(name, f"answers at {path}")


def python(config: AgentConfig) -> Check:
    """For modules that run as processes."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if config.modules.python is not None and not os.access(config.modules.python, os.X_OK):
        return fail("python", f"there is no {config.modules.python}", "correct modules.python")
    if config.modules.python is None and importlib.util.find_spec("scoring") is None:
        return warn(
            "python", f"{version}, without the package scoring", "install inferry[scoring,onnx]"
        )
    return ok("python", config.modules.python or version)


def ports(config: AgentConfig) -> Check:
    """Modules that shall answer at a port do so."""
    desired = kept_desired(config.state)
    wanted = [module for module in desired.modules if module.port] if desired is not None else []
    silent = [f"{m.name} at {m.port}" for m in wanted if not _listens(m.address, m.port or 0)]
    if silent:
        return warn("ports", f"nobody answers for {', '.join(silent)}", "see the check modules")
    if not wanted:
        return ok("ports", "no module has one")
    return ok("ports", f"{', '.join(str(module.port) for module in wanted)} answer")


def modules(config: AgentConfig) -> Check:
    """As the agent reported last."""
    report = kept_report(config.state)
    if report is None:
        return warn("modules", "the agent has reported nothing yet", "start the agent")
    age_s = time.time() - (config.state / REPORTED_FILE).stat().st_mtime
    if lock_holder(config.state) is None:
        return warn("modules", f"the agent does not run since {age_s:.0f} s", "start the agent")
    ill = [m for m in report.modules if m.health != "healthy" or m.phase == "failed"]
    if ill:
        told = [f"{m.name} is {m.health}, {m.phase}: {m.error or 'no error yet'}" for m in ill]
        return fail("modules", "; ".join(told), f"inferry edge logs {config.device} {ill[0].name}")
    return ok("modules", f"{len(report.modules)} healthy")


def _listens(address: str, port: int) -> bool:
    host = "127.0.0.1" if address in ("", "0.0.0.0") else address
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=3):
        return True
    return False


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.0f} MiB"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


PROBES: dict[str, Probe] = {
    "clock": clock,
    "disk": disk,
    "memory": memory,
    "state-folder": state_folder,
    "agent": agent,
    "databases": databases,
    "certificates": certificates,
    "signing-key": signing_key,
    "docker": docker,
    "python": python,
    "ports": ports,
    "modules": modules,
}
