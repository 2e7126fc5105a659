"""The replicas of one deployment on one host: started, kept, found again, and let go.

replicas = Replicas("web", host)
replicas.adopt(instances)                 # what an earlier controller started goes on
replicas.start(2, instance_of(...))
replicas.seen()

Each has a keeper of edge/keeping: it restarts what ends, with growing waits, and probes it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edge.errors import EdgeError
from edge.hosts.port import Instance, InstanceId, ModuleHost
from edge.keeping.keeper import LiveKeeper
from edge.keeping.port import LiveView
from edge.messages.desired import Limits, Probe, Restart
from registry.deployments import Health, Replica, Revision
from runtime.deployments.fleet import Seen, State

MAX_BACKOFF_S = 30.0
RESET_AFTER_S = 60.0
LOG_LINES = 20
_NAME = re.compile(
    r"(?P<deployment>[a-z0-9-]+)\.(?P<revision>[1-9][0-9]{0,8})\.(?P<tail>[a-z0-9]+)"
)
Describe = Callable[[int], tuple[Instance, Health]]
"""The instance of a revision (its id left empty) and how its health is asked; KeyError where there
is no such revision."""


@dataclass(slots=True)
class _Kept:
    """One replica. ``is_draining``: it gets no more requests."""

    revision: int
    instance: Instance
    keeper: LiveKeeper
    is_draining: bool = False


class Replicas:
    """Of one deployment. Not for several threads at once."""

    def __init__(
        self, deployment: str, host: ModuleHost, *, token: Callable[[], str] | None = None
    ) -> None:
        self._deployment, self._host = deployment, host
        self._token = token or (lambda: secrets.token_hex(3))
        self._kept: dict[str, _Kept] = {}

    def __repr__(self) -> str:
        return f"Replicas({self._deployment}, {sorted(self._kept)})"

    def adopt(self, describe: Describe) -> list[str]:
        """Keep what runs already. Returns the ids of those whose revision is unknown: they were
        stopped. Raises EdgeError where the host cannot be asked."""
        strangers = []
        for found in self._host.list():
            revision = revision_of(self._deployment, found.id.module)
            if revision is None or found.id.module in self._kept:
                continue
            try:
                instance, health = describe(revision)
            except KeyError:
                self._host.stop(found.id)
                strangers.append(found.id.module)
                continue
            self._keep(found.id.module, revision, instance, health)
        return strangers

    def start(self, revision: int, instance: Instance, health: Health) -> str:
        """One more; returns its id at once, the keeper starts it."""
        id = f"{self._deployment}.{revision}.{self._token()}"
        self._keep(id, revision, instance, health)
        return id

    def drain(self, id: str) -> None:
        """Mark it: whoever balances sends it nothing more."""
        if id in self._kept:
            self._kept[id].is_draining = True

    def remove(self, id: str, grace_s: float) -> None:
        """Stop it and forget it. Raises EdgeError where the host does not do it; try again."""
        kept = self._kept.get(id)
        if kept is None:
            return
        kept.keeper.close()
        self._host.stop(kept.instance.id, grace_s)
        del self._kept[id]

    def are_seen(self) -> bool:
        """Whether the keepers have looked at all of them."""
        views = [kept.keeper.view() for kept in self._kept.values()]
        return all(view.port is not None or view.error is not None for view in views)

    def seen(self) -> list[Seen]:
        """All, as their keepers saw them last."""
        return [
            Seen(id, kept.revision, _state(kept), kept.keeper.view().started_at_s or 0.0)
            for id, kept in sorted(self._kept.items())
        ]

    def addresses(self) -> dict[str, tuple[int, str, int]]:
        """Revision, address and port of those that answer, by id."""
        found = {}
        for id, kept in self._kept.items():
            view = kept.keeper.view()
            if view.port is not None and _state(kept) in ("ready", "draining"):
                found[id] = (kept.revision, kept.instance.address, view.port)
        return found

    def records(self, since: Mapping[str, str]) -> tuple[Replica, ...]:
        """For whoever looks: with the last log lines of those that are not well."""
        return tuple(
            self._record(id, kept, since.get(id, "")) for id, kept in sorted(self._kept.items())
        )

    def trouble(self, revision: int) -> str | None:
        """Why a replica of the revision is not well: it ended or was unhealthy."""
        for id, kept in sorted(self._kept.items()):
            view = kept.keeper.view()
            if kept.revision == revision and _is_broken(view):
                words = _last_words(self._logs(id))
                return f"{view.error}" + (f"; its last words: {words}" if words else "")
        return None

    def logs(self, id: str, lines: int) -> str:
        """What it printed. Raises EdgeError; KeyError where there is none."""
        return self._host.logs(self._kept[id].instance.id, lines)

    def close(self) -> None:
        """End the keepers; what runs goes on."""
        for kept in self._kept.values():
            kept.keeper.close()

    def _keep(self, id: str, revision: int, instance: Instance, health: Health) -> None:
        named = replace(instance, id=InstanceId(id, "live"))
        keeper = LiveKeeper(id, self._host, look_s=min(0.5, health.interval_s))
        keeper.set(named, _restart(), _probe(health))
        keeper.open()
        self._kept[id] = _Kept(revision, named, keeper)

    def _record(self, id: str, kept: _Kept, since: str) -> Replica:
        view, state = kept.keeper.view(), _state(kept)
        words = self._logs(id) if _is_broken(view) else ""
        where = f"{kept.instance.address}:{view.port}" if view.port is not None else ""
        names = {"starting": "starting", "ready": "ready", "draining": "draining"}
        shown = names.get(state, "failed")
        return Replica(
            id,
            kept.revision,
            shown,  # type: ignore[arg-type]
            where,
            view.error or "",
            words,
            since,
        )

    def _logs(self, id: str) -> str:
        try:
            return self.logs(id, LOG_LINES)
        except EdgeError:
            return ""


def revision_of(deployment: str, module: str) -> int | None:
    """Of a replica's id; None where it is another deployment's."""
    found = _NAME.fullmatch(module)
    if found is None or found["deployment"] != deployment:
        return None
    return int(found["revision"])


def deployment_of(module: str) -> str | None:
    """Whose replica it is; None for what is none."""
    found = _NAME.fullmatch(module)
    return None if found is None else found["deployment"]


def instance_of(revision: Revision, address: str = "127.0.0.1") -> Instance:
    """What a host is asked for, its id aside."""
    settings = revision.settings
    args: list[str] = []
    for flag, value in (
        ("--workers", settings.workers),
        ("--max-batch", settings.max_batch),
        ("--deadline-ms", settings.deadline_ms),
    ):
        if value is not None:
            args += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    limits = Limits(settings.resources.memory_bytes, settings.resources.cpus)
    return Instance(
        InstanceId("", "live"),
        revision.digest,
        address=address,
        env=settings.environment,
        args=tuple(args),
        limits=limits,
    )


def _state(kept: _Kept) -> State:
    if kept.is_draining:
        return "draining"
    view = kept.keeper.view()
    if view.health == "healthy":
        return "ready"
    # The keeper starts it again by itself: it is not another's to be replaced.
    return "starting"


def _is_broken(view: LiveView) -> bool:
    return view.health == "unhealthy" or (view.error is not None and view.restarts > 0)


def _restart() -> Restart:
    return Restart("always", 1.0, MAX_BACKOFF_S, RESET_AFTER_S)


def _probe(health: Health) -> Probe:
    return Probe(
        "/readyz",
        health.interval_s,
        max(1.0, min(5.0, health.interval_s * 5)),
        health.failures,
        health.start_s,
    )


def _last_words(log: str) -> str:
    return " | ".join(line.strip() for line in log.strip().splitlines()[-5:])[-400:]
