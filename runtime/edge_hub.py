"""The hub as a process: its identity, its link to the broker, its chores.

run(workspace, HubOptions(broker=Address("hub.example", 8883)), say=print, stop=event)
"""

from __future__ import annotations

import datetime
import fcntl
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runtime.errors import BadValueError

if TYPE_CHECKING:
    from edge.enrolment import Authority, Identity
    from edge.link.mqtt import LinkConfig
    from registry import Workspace

LOCK = "hub.lock"
BEAT = "hub.beat"
FOLDER = "edge"
"""In the workspace: hub.db, hub.lock, hub.beat, ca/, hub/ (its certificate), broker/ (of the
embedded one)."""
DAY_S = 86_400.0
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Address:
    """Of a broker."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, port: int = 8883, lowest: int = 1) -> Address:
        """HOST or HOST:PORT; [::1]:8883 for IPv6. Raises BadValueError."""
        host, colon, digits = text.rpartition(":")
        if not colon or (":" in host and not host.startswith("[")) or text.endswith("]"):
            host, digits = text, str(port)
        host = host.removeprefix("[").removesuffix("]")
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= 5
        if not host or not is_number or not lowest <= int(digits) <= 65535:
            raise BadValueError(f"'{text}' is no broker; say HOST:PORT")
        return cls(host, int(digits))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Files(NamedTuple):
    """Of an identity: whom it trusts, who it is."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class HubOptions:
    """``broker`` None: one is run in this process, at ``listen``. ``metrics_port`` None: no
    metrics."""

    broker: Address | None = None
    server_name: str | None = None
    listen: Address = Address("127.0.0.1", 8883)
    metrics_port: int | None = None
    keep_days: float = 30.0
    keep_gib: float = 20.0


def edge_folder(root: Path) -> Path:
    """The hub's part of a workspace's folder."""
    folder = root / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def authority(root: Path) -> Authority:
    """Who issues certificates, made when it is not there. Raises EnrolmentError."""
    from edge.enrolment import Authority

    return Authority.load_or_create(edge_folder(root) / "ca")


def run(
    workspace: Workspace, options: HubOptions, *, say: Callable[[str], None], stop: threading.Event
) -> None:
    """Until ``stop``. Raises EdgeError when it cannot begin."""
    from edge.hub.database import Database
    from edge.hub.heartbeat import Heartbeat
    from edge.hub.metrics import MetricsServer
    from edge.hub.publishing import desired_for
    from edge.hub.retention import Retention
    from edge.hub.rollout_engine import RolloutEngine
    from edge.hub.service import HubService
    from edge.link.mqtt import MqttLink
    from runtime.edge_images import ImageKeeper

    folder = edge_folder(workspace.root)
    database = Database(folder / "hub.db")
    with ExitStack() as stack:
        stack.enter_context(sole_hub(workspace.root))
        stack.enter_context(hub_logging())
        broker = options.broker
        if broker is None:
            broker = _embedded(stack, workspace.root, options.listen)
        service = HubService(
            database,
            MqttLink(_link_config(workspace.root, broker, options.server_name)),
            desired_for,
            chores=[
                RolloutEngine(database),
                Retention(
                    database,
                    max_age_s=options.keep_days * DAY_S,
                    max_bytes=int(options.keep_gib * GIB),
                ),
                ImageKeeper(workspace, database),
                Heartbeat(folder / BEAT),
            ],
        )
        service.start()
        stack.callback(service.stop)
        say(f"Broker on {broker}")
        if options.metrics_port is not None:
            metrics = stack.enter_context(MetricsServer(service, "127.0.0.1", options.metrics_port))
            say(f"Metrics on http://127.0.0.1:{metrics.port}/metrics")
        say("The hub runs; Ctrl-C ends it")
        stop.wait()


@contextmanager
def hub_logging() -> Iterator[None]:
    """On stderr, with its time: also that what was lost is back. What a device says that is refused
    is only counted (/metrics), and who the embedded broker refuses is not told: neither must fill
    the log."""
    from edge.agent.log import Lines

    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    wanted = {
        "edge": logging.INFO,
        "edge.broker": logging.WARNING,
        "edge.hub.receiving": logging.WARNING,
    }
    before = {name: logging.getLogger(name).level for name in wanted}
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("edge").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("edge").removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def sole_hub(root: Path) -> Iterator[None]:
    """While this runs, it is the only hub of the workspace: two would take the broker's connection
    from each other without end. A hub that was killed leaves nothing. Raises ConflictError."""
    from edge.errors import ConflictError

    with (edge_folder(root) / LOCK).open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                "another hub of this workspace runs; end it first, or name another --workspace"
            ) from None
        yield


def hub_identity(root: Path) -> Files:
    """Raises EnrolmentError."""
    return _identity(root, "hub", lambda issuer: issuer.issue_hub())


def _identity(root: Path, name: str, issue: Callable[[Authority], Identity]) -> Files:
    """Kept in a folder of its own; issued when there is none that will do."""
    from edge.enrolment import certificates, write_files
    from edge.enrolment.files import SECRET, File

    issuer = authority(root)
    folder = edge_folder(root) / name
    files = Files(folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key")
    now = datetime.datetime.now(tz=datetime.UTC)
    if all(path.exists() for path in files) and files.ca.read_bytes() == issuer.pem:
        made = certificates.read_certificate(files.certificate.read_bytes())
        if not certificates.is_renewal_due(made, now):
            return files
    identity = issue(issuer)
    write_files(
        folder,
        {
            "ca.pem": File(issuer.pem),
            f"{name}.key": File(identity.key, SECRET),
            f"{name}.pem": File(identity.certificate),
        },
    )
    return files


def _link_config(root: Path, broker: Address, server_name: str | None) -> LinkConfig:
    from edge.link.mqtt import LinkConfig, Tls

    files = hub_identity(root)
    return LinkConfig(
        client="hub",
        host=broker.host,
        port=broker.port,
        tls=Tls(files.ca, files.certificate, files.key, server_name),
        max_wait_s=10.0,
    )


def _embedded(stack: ExitStack, root: Path, listen: Address) -> Address:
    """A broker in this process, with TLS and the rights of devices."""
    from edge.broker import Broker, BrokerConfig, BrokerTls, DeviceRules

    names = sorted(
        {"localhost", "127.0.0.1", socket.gethostname(), listen.host} - {"0.0.0.0", "::"}
    )
    files = _identity(root, "broker", lambda issuer: issuer.issue_broker(names))
    revoked = authority(root).folder / "revoked"
    tls = BrokerTls(
        files.ca,
        files.certificate,
        files.key,
        is_revoked=lambda serial: (revoked / f"{serial:x}").exists(),
    )
    broker = Broker(BrokerConfig(listen.host, listen.port, tls), rules=DeviceRules())
    broker.start()
    stack.callback(broker.stop)
    host = "127.0.0.1" if listen.host in ("0.0.0.0", "::") else listen.host
    return Address(host, broker.port)
