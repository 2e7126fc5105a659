"""HAProxy as it was declared: the one object that a controller needs.

    with Balancer(folder) as balancer:
        balancer.apply(Balance(services=(service,)))     # again, whenever something changes
        balancer.services()["digits"].held               # requests that wait for a replica
        balancer.is_idle("digits", replica)              # nothing of it is in flight: it may end

``apply`` may be called at any time, with the same or another description: it reaches what is
declared from whatever there is. Blocking; at most one call at a time has an effect.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from runtime.balance import configuration, maps
from runtime.balance.certificate import certificate_sha1, certificate_text
from runtime.balance.configuration import (
    AGAIN,
    CERTIFICATES,
    certificate_file,
    lane_name,
    place_of,
    slot_name,
)
from runtime.balance.declared import Balance, Replica
from runtime.balance.errors import (
    CertificateError,
    RefusedError,
    RuntimeApiError,
    StartError,
    UnreachableError,
)
from runtime.balance.handover import require_free
from runtime.balance.keeper import Keeper, Told
from runtime.balance.layout import Layout, Placed, arranged
from runtime.balance.plan import (
    ReplaceMap,
    SetMaxRequests,
    SetPlace,
    SetState,
    SetWeight,
    Step,
    last_steps,
    plan,
)
from runtime.balance.process import Account
from runtime.balance.runtime_api import RuntimeApi
from runtime.balance.states import Server, Stats

LAYOUT = "layout.json"
OLDER_S = 2.0
DYING_S = 2.0
"""For who had the ports until now, and was killed, to leave them."""
Now = Callable[[], datetime.datetime]


@dataclass(frozen=True, slots=True)
class Applied:
    """``how``: "started", "reloaded", "commands" or "nothing"; ``steps``: commands to the process
    in force."""

    how: Literal["started", "reloaded", "commands", "nothing"]
    steps: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """``in_flight`` counts those that a process from before a reload still has, too."""

    replica: Replica
    server: Server
    in_flight: int


@dataclass(frozen=True, slots=True)
class VersionState:
    """``waiting``: requests for any of its replicas, all of which are full."""

    name: str
    replicas: tuple[ReplicaState, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class ServiceState:
    """``held``: requests for which no replica is there; ``requests``: so many in all since the
    process in force began."""

    name: str
    versions: tuple[VersionState, ...]
    held: int
    requests: int


class Balancer:
    """See Keeper for ``folder``, ``command``, ``account`` and ``told``."""

    def __init__(
        self,
        folder: Path,
        *,
        command: str = "haproxy",
        account: Account | None = None,
        told: Told = lambda line: None,
        now: Now = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.keeper = Keeper(folder, command=command, account=account, told=told)
        self._now = now
        self._guard = threading.Lock()
        self._layout: Layout | None = None

    def __enter__(self) -> Self:
        self.keeper.__enter__()
        try:
            self._layout = _decoded(self.keeper.read(LAYOUT))
        except BaseException:
            self.keeper.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """HAProxy goes on."""
        self.keeper.__exit__(kind, error, trace)

    def apply(self, balance: Balance, *, keep_certificates: Collection[str] = ()) -> Applied:
        """Returns when it is so. ``keep_certificates``: services that go on with the certificate
        they have, where theirs cannot be used. Raises CertificateError, RefusedConfigError,
        StartError, FolderError or RuntimeApiError; after the first three everything is as it was
        before."""
        with self._guard:
            layout = arranged(balance, self._layout, self._busy())
            certificates = self._certificates(balance, keep_certificates)
            files = configuration.files(layout) | certificates | {LAYOUT: _encoded(layout)}
            is_running = self.keeper.is_running
            if not is_running or self._shape() != configuration.shape(layout):
                self._require_free_ports(balance)
                self.keeper.run(files)
                self._layout = layout
                self.keeper.keep_only(files, maps.FOLDER, CERTIFICATES)
                self._tell_all(layout)
                return Applied("reloaded" if is_running else "started")
            self.keeper.store(files)
            self._layout = layout
            steps = self._renew(certificates) + self._tell_all(layout)
            return Applied("commands" if steps else "nothing", steps)

    @property
    def declared(self) -> Balance:
        """What was applied last, by whichever Balancer had the folder."""
        layout = self._layout
        return Balance() if layout is None else layout.balance

    def has_certificate(self, service: str) -> bool:
        """Of an earlier ``apply``, which it may keep."""
        return self.keeper.read(certificate_file(service)) is not None

    def services(self) -> dict[str, ServiceState]:
        """As HAProxy sees them now; empty when it does not run. Raises RuntimeApiError."""
        layout, apis = self._layout, self.keeper.apis()
        if layout is None or not apis:
            return {}
        current, older = apis[0].stats(), []
        for api in apis[1:]:
            with contextlib.suppress(RuntimeApiError):  # it ends just now
                older.append(api.stats())
        return {
            placed.service.name: _service_state(placed, current, older)
            for placed in layout.services
        }

    def is_idle(self, service: str, replica: Replica) -> bool:
        """No request is in flight there, in any process of HAProxy: it may be ended. A replica that
        is no longer declared is asked for too. Raises RuntimeApiError."""
        for api in self.keeper.apis():
            for server in api.stats().servers:
                if (
                    server.backend.rpartition(".")[0] == service
                    and (server.address, server.port) == replica.place
                    and (server.in_flight or server.queued)
                ):
                    return False
        return True

    @property
    def is_needless(self) -> bool:
        """Nothing runs, and nothing is kept of what ran."""
        return self._layout is None and not self.keeper.is_running

    def stop(self, grace_s: float = 30) -> None:
        """Of HAProxy itself; its ports are free when it returns."""
        with self._guard:
            self.keeper.stop(grace_s)

    def end(self, grace_s: float = 5) -> None:
        """Nothing is declared any more: HAProxy ends, its files go, and its folder with the block.
        ``apply`` begins anew. Idempotent. Raises FolderError."""
        self.stop(grace_s)
        with self._guard:
            self.keeper.clear()
            self._layout = None

    def _apis(self) -> tuple[RuntimeApi, list[RuntimeApi]]:
        """Of the run in force, and of those that finish."""
        apis = self.keeper.apis()
        if not apis:
            raise UnreachableError("HAProxy does not run")
        return apis[0], list(apis[1:])

    def _shape(self) -> str:
        """Of what runs; another one when it cannot be asked."""
        for api in self.keeper.apis()[:1]:
            with contextlib.suppress(RuntimeApiError):
                return api.info().description
        return ""

    def _require_free_ports(self, balance: Balance) -> None:
        """HAProxy would share a port with another one of the same account, and not say so."""
        ours = {port for _, port in self.declared.listeners}
        for address, port in balance.listeners:
            if port not in ours:
                require_free(address, port)
            elif not self.keeper.has_ports:
                _wait_free(address, port)

    def _certificates(self, balance: Balance, keep: Collection[str]) -> dict[str, str]:
        found = {}
        for service in balance.services:
            if service.certificate is not None:
                file = certificate_file(service.name)
                try:
                    found[file] = certificate_text(Path(service.certificate), self._now())
                except CertificateError:
                    before = self.keeper.read(file) if service.name in keep else None
                    if before is None:
                        raise
                    found[file] = before
        return found

    def _busy(self) -> set[tuple[str, int, int]]:
        """What cannot be asked ends just now, or is dead: then all of it is new anyway."""
        found = set()
        for api in self.keeper.apis():
            with contextlib.suppress(RuntimeApiError):
                found |= {
                    place_of(server)
                    for server in api.stats().servers
                    if server.in_flight or server.queued
                }
        return found

    def _renew(self, certificates: Mapping[str, str]) -> int:
        """How many. Those that finish take no new connections, and need none."""
        current, _ = self._apis()
        renewed = 0
        for name, pem in certificates.items():
            if current.certificate_sha1(name) != certificate_sha1(pem):
                current.replace_certificate(name, pem)
                renewed += 1
        return renewed

    def _tell_all(self, layout: Layout) -> int:
        """The steps of the run in force; those that finish are told what they can still be told: a
        key that was withdrawn opens nothing there either."""
        current, older = self._apis()
        steps = _tell(current, layout)
        for api in older:
            self._tell_older(api, layout)
        return steps

    def _tell_older(self, api: RuntimeApi, layout: Layout) -> None:
        """Until it has heard, or has ended."""
        deadline = time.monotonic() + OLDER_S
        while api in self.keeper.apis():
            try:
                for step in last_steps(_steps(api, layout)):
                    _act(api, step)
                return
            except RuntimeApiError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def _wait_free(address: str, port: int) -> None:
    """A process that had it and was killed may not be gone yet. Raises StartError."""
    deadline = time.monotonic() + DYING_S
    while True:
        try:
            return require_free(address, port)
        except StartError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _tell(api: RuntimeApi, layout: Layout) -> int:
    steps = _steps(api, layout)
    for step in steps:
        _act(api, step)
    return len(steps)


def _steps(api: RuntimeApi, layout: Layout) -> tuple[Step, ...]:
    entries = {}
    for file in maps.maps(layout):
        try:
            entries[file] = api.map_entries(file)
        except RefusedError:
            continue  # an older process without that service
    return plan(layout, api.stats().servers, entries)


def _act(api: RuntimeApi, step: Step) -> None:
    match step:
        case SetPlace(server, address, port):
            api.set_place(server, address, port)
        case SetState(server, state):
            api.set_state(server, state)
        case SetWeight(server, weight):
            api.set_weight(server, weight)
        case SetMaxRequests(server, number):
            api.set_max_requests(server, number)
        case ReplaceMap(file, entries):
            api.replace_map(file, entries)


def _service_state(placed: Placed, current: Stats, older: Sequence[Stats]) -> ServiceState:
    name = placed.service.name
    servers = {server.key: server for server in current.servers}
    queues = {queue.backend: queue for queue in current.queues}
    ports = {port.name: port for port in current.ports}
    versions, is_any_up = [], False
    for index, lane in enumerate(placed.lanes):
        backend = lane_name(name, index)
        replicas = []
        for slot, replica in enumerate(lane.slots):
            server = servers.get((backend, slot_name(slot)))
            if replica is None or server is None:
                continue
            in_flight = server.in_flight + _in_flight(older, name, replica)
            replicas.append(ReplicaState(replica, server, in_flight))
            is_shadow = lane.version is not None and lane.version.copies > 0
            is_any_up |= server.is_up and server.admin == "ready" and not is_shadow
        if lane.version is not None:
            waiting = queues[backend].waiting if backend in queues else 0
            versions.append(VersionState(lane.version.name, tuple(replicas), waiting))
    again = ports.get(f"{name}.{AGAIN}")
    held = again.connections if again is not None and not is_any_up else 0
    requests = ports[name].requests if name in ports else 0
    return ServiceState(name, tuple(versions), held, requests)


def _in_flight(stats: Sequence[Stats], service: str, replica: Replica) -> int:
    return sum(
        server.in_flight
        for one in stats
        for server in one.servers
        if server.backend.rpartition(".")[0] == service
        and (server.address, server.port) == replica.place
    )


def _encoded(layout: Layout) -> str:
    return msgspec.json.encode(layout).decode()


def _decoded(text: str | None) -> Layout | None:
    """None for what is damaged or of another version of this program: all get new places."""
    try:
        return msgspec.json.decode(text or "", type=Layout)
    except (msgspec.MsgspecError, ValueError):
        return None
