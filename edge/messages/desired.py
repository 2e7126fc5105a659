"""What a device shall run. Retained on the broker; the newest version supersedes every other, also
one that is being applied.
"""

from __future__ import annotations

from typing import Literal

import msgspec

HostKind = Literal["docker", "process"]
RestartPolicy = Literal["always", "on-failure", "on-unhealthy", "never"]
Strategy = Literal["beside", "replace"]


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a module may use. None: no limit. ``cpus``: may be a fraction."""

    memory_bytes: int | None = None
    cpus: float | None = None
    processes: int | None = 512


class Restart(msgspec.Struct, frozen=True, omit_defaults=True):
    """``on-failure``: after an exit code other than 0; ``on-unhealthy``: also when probes fail;
    ``always``: after any end, and when probes fail. The first restart comes at once, then the wait
    doubles from ``backoff_s`` to ``max_backoff_s``; all starts anew after ``reset_after_s`` of
    health."""

    policy: RestartPolicy = "always"
    backoff_s: float = 1.0
    max_backoff_s: float = 300.0
    reset_after_s: float = 600.0


class Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    """How health is asked from outside: GET ``path`` must answer 200. ``failures`` in a row make a
    module unhealthy; within ``start_s`` of its start none counts."""

    path: str = "/readyz"
    interval_s: float = 10.0
    timeout_s: float = 5.0
    failures: int = 3
    start_s: float = 60.0


class Window(msgspec.Struct, frozen=True):
    """A span of each day (UTC, minutes since midnight; over midnight when ``start`` > ``end``)."""

    start: int
    end: int


class Update(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a new version comes into service. ``beside``: it is started beside the old one, and
    tested, before that is stopped; ``replace``: the old one is stopped first (half the memory, and
    nobody answers meanwhile); None: beside, but replace for an FPGA image, as two processes cannot
    have one board (when both are such images, the running server takes the new one, and clients
    wait). ``start_s``: bound of start and gate. ``watch_s``: how long after the switch a crash or
    bad health still brings the old one back. ``latency_factor``: the new version may take this many
    times the old one's time for the golden inputs; None: not compared.
    ``shadow_s``: for so long requests are answered by the old version and copied to the new one,
    whose answers must agree in ``shadow_agreement`` of the cases; 0: no shadow run. ``windows``:
    when a switch may happen; none: always. ``when_ready``: the switch waits until the application
    says that it is ready. ``lock_deadline_s``: an application's update lock, or its not being
    ready, is overruled after this long; None: never."""

    strategy: Strategy | None = None
    start_s: float = 120.0
    watch_s: float = 30.0
    latency_factor: float | None = 5.0
    shadow_s: float = 0.0
    shadow_agreement: float = 0.99
    windows: tuple[Window, ...] = ()
    when_ready: bool = False
    lock_deadline_s: float | None = None


class Variant(msgspec.Struct, frozen=True):
    """Another image of a module, for devices of a condition (edge/conditions.py)."""

    condition: str
    image: str
    digest: str


class Module(msgspec.Struct, frozen=True, omit_defaults=True):
    """One module. ``image``: the repository and version that people know, like "digits:3";
    ``digest``: its manifest's, which is what counts. ``port``: where the device answers (all
    addresses; the module listens on 5001 inside); None: no port. ``order``: modules of a lower
    one are started, and healthy, first. ``host``: None: Docker if the device has it, else
    processes; FPGA artifacts always run as processes. ``variants``: what the devices of these
    conditions run in place of ``image``, the first that is met; the hub keeps them, and tells each
    device its own image."""

    name: str
    image: str
    digest: str
    port: int | None = None
    address: str = "0.0.0.0"
    env: dict[str, str] = {}
    args: tuple[str, ...] = ()
    host: HostKind | None = None
    limits: Limits = Limits()
    restart: Restart = Restart()
    probe: Probe = Probe()
    update: Update = Update()
    order: int = 0
    variants: tuple[Variant, ...] = ()


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The device's own. None: what its configuration says. ``pull_windows``: when images may be
    fetched; none: always. ``bytes_per_day``: of telemetry on the wire, all together."""

    report_s: float | None = None
    metrics_s: float | None = None
    bytes_per_day: int | None = None
    pull_bytes_per_s: int | None = None
    pull_windows: tuple[Window, ...] = ()


class Desired(msgspec.Struct, frozen=True):
    """The whole of it. ``version`` grows by each change of this device's state."""

    v: int
    device: str
    version: int
    modules: tuple[Module, ...] = ()
    settings: Settings = Settings()
