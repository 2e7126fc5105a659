"""What a real agent is made of. The only file that names the classes behind the ports."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from edge.agent import machine
from edge.agent.config import AgentConfig, reserve_bytes
from edge.agent.parts import Parts
from edge.agent.state import DATABASE
from edge.agent.threads import Work
from edge.agent.unit import ModuleUnit
from edge.clock import DeviceClock, boot_id
from edge.errors import ConfigError, PullError
from edge.hosts.port import ModuleHost
from edge.link.dates import is_clock_right, validity
from edge.link.mqtt import LinkConfig, MqttLink, Tls
from edge.messages.desired import Desired
from edge.messages.reported import ModuleReport
from edge.outbox.outbox import Outbox
from edge.outbox.record import STREAMS, NewRecord, OutboxSettings, StreamLimits
from edge.outbox.uplink import Uplink
from edge.pull.puller import RegistryPuller
from edge.pull.rate import RateCap
from edge.pull.signatures import ChildKey
from edge.stock.device_stock import DeviceStock
from edge.switch.bundles import kept_names
from edge.switch.record import Records
from edge.switch.updater import Tools
from edge.telemetry.host import host_metrics
from edge.telemetry.scraping import Scraper, Target, metrics_record
from edge.windows import is_open

if TYPE_CHECKING:
    from edge.agent.agent import Agent
    from edge.stock.port import Puller, Stock, StoredImage

T = TypeVar("T")
log = logging.getLogger(__name__)
FIRST_LOOK_S = 3.0
DOCKER_SOCKET = Path("/var/run/docker.sock")
UNPRIVILEGED = (10001, 10001)
"""As whom modules run when the agent is root; the same as in a container."""


def assemble(config: AgentConfig, agent: Agent) -> Parts:
    """Raises ConfigError, PullError, OutboxError."""
    with ExitStack() as stack:
        parts = _assemble(config, agent, stack)
        stack.pop_all()
    return parts


def _assemble(config: AgentConfig, agent: Agent, stack: ExitStack) -> Parts:
    state = config.state
    total = os.statvfs(state).f_blocks * os.statvfs(state).f_frsize
    stock = DeviceStock(
        state,
        reserve_bytes=reserve_bytes(config.disk.reserve_bytes, total),
        boot_id=boot_id(),
    )
    stack.callback(stock.close)
    clock = DeviceClock(state / "clock.json")
    outbox = Outbox(state / "outbox.db", clock, outbox_settings(config))
    stack.callback(outbox.close)
    link = MqttLink(link_config(config), is_clock_right=_clock_judge(config, clock))
    uplink = Uplink(
        config.device,
        outbox,
        link,
        clock,
        bytes_per_day=lambda: _first(agent.settings.bytes_per_day, config.telemetry.bytes_per_day),
    )
    outbox.on_commit = uplink.on_commit
    records = Records(state / DATABASE)
    stack.callback(records.close)
    hosts = make_hosts(config, stock, records.hosts())
    rate = RateCap(config.registry.bytes_per_s if config.registry is not None else None)
    services: dict[str, Work] = {"uplink": uplink.work}
    if config.telemetry.metrics_s > 0:
        scraper = Scraper(
            lambda: targets(agent.modules.reports()),
            lambda records: outbox.append(records, wait=False),
            soon_then(lambda: _first(agent.settings.metrics_s, config.telemetry.metrics_s) or 60.0),
            lambda: host_metrics(machine.report(state)),
        )
        services["metrics"] = scraper.work

    def send(record: NewRecord) -> None:
        outbox.append([record], wait=False)

    def now_s() -> float:
        hub_ms = clock.hub_now_ms()
        return time.time() if hub_ms is None else hub_ms / 1000

    tools = Tools(
        state=state,
        hosts={host.kind: host for host in hosts},
        stock=stock,
        puller=make_puller(config, stock, rate),
        records=records,
        pinned=lambda: agent.modules.digests(),
        may_pull=lambda: None if is_open(agent.settings.pull_windows, now_s()) else "window",
        now_s=now_s,
        on_change=lambda: agent.wake(),
        event=lambda kind, body: send(event(kind, body)),
    )
    closing = ExitStack()
    for part in (stock, outbox, records):
        closing.callback(part.close)
    return Parts(
        link=link,
        hosts=hosts,
        make_unit=lambda name, may_start: ModuleUnit(
            name, may_start, tools, outbox.append, clock.hub_now_ms
        ),
        outbox_report=outbox.report,
        services=services,
        life=lambda: outbox.life,
        on_ack=uplink.on_ack,
        on_announced=uplink.on_announced,
        mark=clock.mark,
        hub_now_ms=clock.hub_now_ms,
        prepare=lambda desired: _apply_settings(desired, config, rate),
        metrics=lambda values: send(metrics_record("agent", dict(values))),
        event=lambda kind, body: send(event(kind, body)),
        flush=uplink.flush,
        kept_modules=lambda: records.names() | kept_names(state),
        wake=uplink.stop,
        close=closing.close,
    )


def _clock_judge(config: AgentConfig, clock: DeviceClock) -> Callable[[], bool]:
    """Whether this device's clock may judge the broker's certificate: asked at each connection."""
    path = config.identity / "device.pem"
    own = validity(path.read_bytes()) if path.exists() else None

    def judge() -> bool:
        hub_ms = clock.hub_now_ms()
        return is_clock_right(time.time(), own, None if hub_ms is None else hub_ms / 1000)

    return judge


def outbox_settings(config: AgentConfig) -> OutboxSettings:
    """A quarter of the room for each priority."""
    each = StreamLimits(max_bytes=config.telemetry.outbox_bytes // STREAMS)
    return OutboxSettings(streams=(each,) * STREAMS)


def targets(reports: Sequence[ModuleReport]) -> list[Target]:
    """Modules whose metrics can be asked for."""
    return [
        Target(report.name, "127.0.0.1", report.port)
        for report in reports
        if report.port is not None and report.health == "healthy"
    ]


def event(kind: str, body: Mapping[str, object]) -> NewRecord:
    """Of the agent; more urgent than numbers."""
    return NewRecord(1, "agent", kind, msgspec.json.encode(body))


def _apply_settings(desired: Desired, config: AgentConfig, rate: RateCap) -> None:
    registry = config.registry
    rate.bytes_per_s = _first(
        desired.settings.pull_bytes_per_s, registry.bytes_per_s if registry is not None else None
    )


def soon_then(every_s: Callable[[], float]) -> Callable[[], float]:
    """The first look comes soon: who sets a device up wants to see it."""
    waits = iter((FIRST_LOOK_S,))
    return lambda: min(next(waits, math.inf), every_s())


def _first(*values: T | None) -> T | None:
    """What the hub says before what the file says."""
    return next((value for value in values if value is not None), None)


def link_config(config: AgentConfig) -> LinkConfig:
    """How the broker is reached."""
    broker, identity = config.broker, config.identity
    tls = None
    if broker.tls:
        tls = Tls(
            identity / "ca.pem",
            identity / "device.pem",
            identity / "device.key",
            broker.server_name,
        )
    return LinkConfig(
        client=config.device,
        host=broker.host,
        port=broker.port,
        tls=tls,
        keepalive_s=broker.keepalive_s,
        min_wait_s=broker.min_wait_s,
        max_wait_s=broker.max_wait_s,
    )


def make_hosts(config: AgentConfig, stock: Stock, used: Collection[str] = ()) -> list[ModuleHost]:
    """What is wanted, or what is here; the process host is always here. ``used``: by modules so
    far; at a boot the Docker Engine may come after us."""
    has_docker = "docker" in used or _has_docker(config)
    found: tuple[str, ...] = ("docker", "process") if has_docker else ("process",)
    wanted = found if config.modules.hosts is None else config.modules.hosts
    hosts: list[ModuleHost] = []
    if "docker" in wanted:
        from edge.hosts.containers import DockerHost

        if config.modules.docker is not None:
            os.environ["DOCKER_HOST"] = config.modules.docker
        hosts.append(DockerHost(config.device, stock, list_age_s=0.4))
    if "process" in wanted:
        from edge.hosts.cgroup import find_cgroups
        from edge.hosts.processes import ProcessHost

        hosts.append(
            ProcessHost(
                config.state / "processes", stock, user=module_user(), cgroups=find_cgroups()
            )
        )
    return hosts


def make_puller(config: AgentConfig, stock: DeviceStock, rate: RateCap) -> Puller:
    """Raises ConfigError."""
    from registry.errors import TrustError
    from registry.trust.public_key import parse_public_key

    if config.registry is None:
        return NoRegistry(stock)
    try:
        key = parse_public_key((config.identity / "signing.pub").read_bytes())
    except (OSError, TrustError) as error:
        raise ConfigError(
            f"{config.identity / 'signing.pub'} cannot be used ({error}); enroll the device again"
        ) from error
    token = None
    if (config.identity / "registry-token").exists():
        token = (config.identity / "registry-token").read_text().strip()
    return RegistryPuller(
        stock,
        config.registry.url,
        token=token,
        trusted=[ChildKey(key.raw)],
        ca_file=config.registry_ca,
        rate=rate,
        is_plain_allowed=config.registry.insecure_http,
    )


class NoRegistry:
    """The Puller of a device whose configuration names none: what is here can run."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    def pull(
        self,
        image: str,
        digest: str,
        *,
        keep: Callable[[], Collection[str]],
        on_progress: Callable[[int, int], None],
        is_cancelled: Callable[[], bool],
    ) -> StoredImage:
        if self._stock.has(digest):
            return self._stock.image(digest)
        raise PullError(f"{image} cannot be fetched: agent.toml has no registry.url")


def module_user(
    python: str = sys.executable, user: tuple[int, int] = UNPRIVILEGED
) -> tuple[int, int] | None:
    """As whom modules run: another user when the agent is root, and that user can run ``python``;
    None: as the agent."""
    if os.geteuid() != 0:
        return None
    real = Path(os.path.realpath(python))
    places = {*Path(python).absolute().parents, *real.parents, real}
    if all(_may_pass(place, user) for place in places):
        return user
    log.warning("modules run as root: %s is in a folder that others cannot read", python)
    return None


def _may_pass(place: Path, user: tuple[int, int]) -> bool:
    found = os.stat(place)
    if found.st_uid == user[0]:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid == user[1] else 0o001))


def _has_docker(config: AgentConfig) -> bool:
    return (
        config.modules.docker is not None
        or "DOCKER_HOST" in os.environ
        or os.access(DOCKER_SOCKET, os.W_OK)
    )
