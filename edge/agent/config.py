"""The configuration of an agent: agent.toml, read once, refused with the key that is wrong.

    device = "press-7"

    [broker]
    host = "hub.example"

    [registry]
    url = "https://hub.example:5000"

Every key, its default and its unit is in the types below. Relative paths begin at the folder of
the file. What the hub sends in ``Desired.settings`` goes before what is here.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from edge.errors import ConfigError, InvalidSpecError
from edge.topics import check_device

DEFAULT_PATH = Path("/etc/inferry-edge/agent.toml")
DEFAULT_STATE = Path("/var/lib/inferry-edge")
MAX_BYTES = 256 * 1024

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400 * 366)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
T = TypeVar("T")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file; a key that is not here is refused."""


class Broker(Section, frozen=True):
    """Where the hub is met. ``tls``: with the identity's certificate; without only for a broker of
    this machine or one that you trust the way to. ``keepalive_s``: on a metered link 900.
    ``server_name``: in the broker's certificate, when it is not ``host``. ``min_wait_s`` and
    ``max_wait_s`` bound the wait between attempts, which doubles, with jitter."""

    host: Text
    port: Port = 8883
    tls: bool = True
    server_name: Text | None = None
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=65_535)] = 60
    min_wait_s: Seconds = 1.0
    max_wait_s: Seconds = 60.0


class Registry(Section, frozen=True):
    """Where images come from. ``ca``: a file of authorities to trust, beside the system's.
    ``insecure_http``: plain HTTP beyond this machine, on a network that you trust."""

    url: Text
    ca: Text | None = None
    bytes_per_s: Count | None = None
    insecure_http: bool = False


class Identity(Section, frozen=True):
    """Files that enrolment made, in ``folder``."""

    folder: Text = "identity"


class Disk(Section, frozen=True):
    """``reserve_bytes``: never taken for images; by default a twentieth of the disk, between 64 MiB
    and 1 GiB."""

    reserve_bytes: Bytes | None = None


class Telemetry(Section, frozen=True):
    """``outbox_bytes``: what waits for the hub, a quarter for each priority. ``bytes_per_day``: on
    the wire; none: no bound. ``metrics_s``: between two looks at host and modules; 0: never."""

    outbox_bytes: Annotated[int, msgspec.Meta(ge=1 << 20, le=2**53)] = 256 << 20
    bytes_per_day: Count | None = None
    metrics_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60.0


class Report(Section, frozen=True):
    """``every_s``: a report is sent at least so often; ``debounce_s``: and at most so often when
    things change."""

    every_s: Seconds = 300.0
    debounce_s: Annotated[float, msgspec.Meta(ge=0.05, le=60)] = 1.0


class Listen(Section, frozen=True):
    """The agent's own /metrics and /healthz. ``port`` none: it does not listen."""

    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    address: Text = "127.0.0.1"


class Modules(Section, frozen=True):
    """``hosts``: where modules may run; none: what is found here. ``python``: the interpreter of
    modules that run as processes; none: the agent's own. ``docker``: the engine's socket or
    address; none: as ``docker`` itself finds it."""

    hosts: tuple[Literal["docker", "process"], ...] | None = None
    python: Text | None = None
    docker: Text | None = None


class _File(Section, frozen=True):
    device: Text
    broker: Broker
    registry: Registry | None = None
    state: Text | None = None
    identity: Identity = Identity()
    disk: Disk = Disk()
    telemetry: Telemetry = Telemetry()
    report: Report = Report()
    listen: Listen = Listen()
    modules: Modules = Modules()


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``path``: the file; ``state``: the folder that the agent owns."""

    path: Path
    device: str
    state: Path
    identity: Path
    broker: Broker
    registry: Registry | None
    registry_ca: Path | None
    disk: Disk
    telemetry: Telemetry
    report: Report
    listen: Listen
    modules: Modules


def find(given: Path | None, environ: Mapping[str, str]) -> Path:
    """The file: what was given, $INFERRY_EDGE_CONFIG, ./agent.toml, else the system's."""
    if given is not None:
        return given
    if environ.get("INFERRY_EDGE_CONFIG"):
        return Path(environ["INFERRY_EDGE_CONFIG"])
    here = Path("agent.toml")
    return here if here.is_file() else DEFAULT_PATH


def load(path: Path) -> AgentConfig:
    """Raises ConfigError, naming the file and the key."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); inferry edge enroll writes one,"
            " --config says where it is"
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} is too large to be a configuration")
    try:
        return parse(data.decode(), path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text") from error


def parse(text: str, path: Path) -> AgentConfig:
    """``path``: the file that it is of. Raises ConfigError."""
    try:
        found = msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {explain(str(error))}") from error
    try:
        check_device(found.device)
    except InvalidSpecError as error:
        raise ConfigError(f"{path}: device: {error}") from error
    _check(found, path)
    folder = path.absolute().parent
    registry_ca = found.registry.ca if found.registry is not None else None
    return AgentConfig(
        path=path.absolute(),
        device=found.device,
        state=DEFAULT_STATE if found.state is None else Path(os.path.join(folder, found.state)),
        identity=Path(os.path.join(folder, found.identity.folder)),
        broker=found.broker,
        registry=found.registry,
        registry_ca=None if registry_ca is None else Path(os.path.join(folder, registry_ca)),
        disk=found.disk,
        telemetry=found.telemetry,
        report=found.report,
        listen=found.listen,
        modules=found.modules,
    )


def _check(found: _File, path: Path) -> None:
    """What types cannot say."""
    if found.broker.min_wait_s > found.broker.max_wait_s:
        raise ConfigError(f"{path}: broker.min_wait_s is above broker.max_wait_s")
    if found.registry is not None and not re.fullmatch(
        r"https?://[A-Za-z0-9.\[\]:_-]+/?", found.registry.url
    ):
        raise ConfigError(f"{path}: registry.url: must be http://HOST:PORT or https://HOST:PORT")


def explain(message: str) -> str:
    """msgspec's line with the key first: "broker.port: Expected `int` <= 65535"."""
    what, _, where = message.partition(" - at ")
    key = where.strip("`").removeprefix("$").lstrip(".").replace("[...]", "[]")
    unknown = re.search(r"unknown field `([^`]*)`", what)
    if unknown is not None:
        return f"{'.'.join(part for part in (key, unknown[1]) if part)}: there is no such key"
    missing = re.search(r"missing required field `([^`]*)`", what)
    if missing is not None:
        return f"{'.'.join(part for part in (key, missing[1]) if part)}: is missing"
    return f"{key or 'the file'}: {what}"


def reserve_bytes(configured: int | None, total_bytes: int) -> int:
    """Of a disk of this size, what images never take."""
    if configured is not None:
        return configured
    return min(max(total_bytes // 20, 64 << 20), 1 << 30)
