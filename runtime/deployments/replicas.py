"""The replicas of one deployment on one host: started, kept, found again, and let go.

replicas = Replicas("web", host)
replicas.adopt(describe, leaving=())      # what an earlier controller started goes on
replicas.start(2, instance_of(...))
replicas.seen()

Each has a keeper of edge/keeping: it restarts what ends, with growing waits, and probes it. Those
that go have none any more (leaving.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from edge.errors import EdgeError
from edge.hosts.port import Instance, InstanceId, ModuleHost
from edge.keeping.keeper import LiveKeeper
from edge.keeping.port import OUT_OF_MEMORY, LiveView
from edge.messages.desired import Probe, Restart
from registry.deployments import Health, Replica
from runtime.deployments.fleet import Seen, State
from runtime.deployments.instances import Describe
from runtime.deployments.leaving import Leaver, Leaving, Place
from runtime.deployments.replica_id import replica_id, revision_of

MAX_BACKOFF_S = 30.0
RESET_AFTER_S = 60.0
LOG_LINES = 20


@dataclass(frozen=True, slots=True)
class _Kept:
    """One replica."""

    revision: int
    instance: Instance
    keeper: LiveKeeper


class Replicas:
    """Of one deployment. Not for several threads at once."""

    def __init__(
        self, deployment: str, host: ModuleHost, *, token: Callable[[], str] | None = None
    ) -> None:
        self._deployment, self._host = deployment, host
        self._token = token or (lambda: secrets.token_hex(3))
        self._kept: dict[str, _Kept] = {}
        self._leaving = Leaving(host)

    def __repr__(self) -> str:
        return f"Replicas({self._deployment}, {sorted(self._kept)}, {self._leaving})"

    def adopt(
        self, describe: Describe, *, leaving: Collection[str] = (), now_s: float = 0.0
    ) -> list[str]:
        """Keep what runs already. ``leaving``: ids of those that were to go, and go on with that.
        Returns the ids of those whose revision is unknown: they are stopped. Raises EdgeError where
        the host cannot be asked."""
        strangers = []
        for found in self._host.list():
            id, revision = found.id.module, revision_of(self._deployment, found.id.module)
            if revision is None or id in self._kept or id in self._leaving:
                continue
            described = None
            if id not in leaving:
                try:
                    described = describe(revision)
                except KeyError:
                    strangers.append(id)
            if described is not None:
                self._keep(id, revision, *described)
                continue
            self._leaving.add(
                id, revision, address=found.address, port=found.port, keeper=None, now_s=now_s
            )
        return strangers

    def start(self, revision: int, instance: Instance, health: Health) -> str:
        """One more; returns its id at once, the keeper starts it."""
        id = replica_id(self._deployment, revision, self._token())
        while id in self._kept or id in self._leaving:
            id = replica_id(self._deployment, revision, self._token())
        self._keep(id, revision, instance, health)
        return id

    def drain(self, id: str, now_s: float) -> None:
        """It goes: whoever balances sends it nothing more, nobody starts it again, and ``stop``
        ends it once it has nothing left. Nothing for one that is not there."""
        kept = self._kept.pop(id, None)
        if kept is not None:
            self._leaving.add(
                id,
                kept.revision,
                address=kept.instance.address,
                port=kept.keeper.view().port if _state(kept) == "ready" else None,
                keeper=kept.keeper,
                now_s=now_s,
            )

    def stop(self, id: str, grace_s: float) -> None:
        """One that drains. Returns at once: it is seen as stopping until it is gone."""
        if id in self._leaving:
            self._leaving.stop(id, grace_s)

    def leaving(self) -> list[Leaver]:
        """Those that drain or are being stopped; those that are gone are forgotten."""
        self._leaving.reap()
        return self._leaving.all()

    def are_seen(self) -> bool:
        """Whether the keepers have looked at all of them."""
        views = [kept.keeper.view() for kept in self._kept.values()]
        return all(view.port is not None or view.error is not None for view in views)

    def seen(self) -> list[Seen]:
        """All, as their keepers saw them last."""
        kept = [
            Seen(id, kept.revision, _state(kept), kept.keeper.view().started_at_s or 0.0)
            for id, kept in self._kept.items()
        ]
        going = [
            Seen(each.id, each.revision, "stopping" if each.is_stopping else "draining", 0.0)
            for each in self.leaving()
        ]
        return sorted([*kept, *going], key=lambda each: each.id)

    def addresses(self) -> dict[str, Place]:
        """Of those that answer, by id; also of those that drain."""
        found: dict[str, Place] = {}
        for id, kept in self._kept.items():
            view = kept.keeper.view()
            if view.port is not None and _state(kept) == "ready":
                found[id] = (kept.revision, kept.instance.address, view.port)
        # One that died while it drained may have left its port to another.
        taken = {place[1:] for place in found.values()}
        for id, place in self._leaving.places().items():
            if place[1:] not in taken:
                found[id] = place
        return found

    def records(self) -> tuple[Replica, ...]:
        """For whoever looks: with the last log lines of those that are not well."""
        kept = [self._record(id, each) for id, each in self._kept.items()]
        going = [_leaving_record(each) for each in self.leaving()]
        return tuple(sorted([*kept, *going], key=lambda each: each.id))

    def has(self, revision: int) -> bool:
        """One that stays."""
        return any(kept.revision == revision for kept in self._kept.values())

    def is_in_trouble(self, revision: int) -> bool:
        """One does not run, for whatever reason."""
        views = (kept.keeper.view() for kept in self._kept.values() if kept.revision == revision)
        return any(_is_broken(view) or view.is_host_away for view in views)

    def trouble(self, revision: int) -> str | None:
        """Why a replica of the revision is not well: it ended or was unhealthy. What its host does
        not do is not its fault."""
        for id, kept in sorted(self._kept.items()):
            view = kept.keeper.view()
            if kept.revision == revision and _is_broken(view):
                words = _last_words(self._logs(id))
                # The error may be of now, as that it is slow to come back; memory is the cause.
                greed = OUT_OF_MEMORY if view.is_out_of_memory else ""
                said = [f"{view.error}", greed if greed not in f"{view.error}" else ""]
                said.append(f"its last words: {words}" if words else "")
                return "; ".join(filter(None, said))
        return None

    def host_trouble(self, revision: int | None = None) -> str | None:
        """What the host does not do, for replicas of this revision or of any."""
        views = [
            kept.keeper.view()
            for _, kept in sorted(self._kept.items())
            if revision in (None, kept.revision)
        ]
        return next((view.error for view in views if view.is_host_away and view.error), None)

    def stop_trouble(self) -> str | None:
        """Why one that shall go does not."""
        return next((each.trouble for each in self.leaving() if each.trouble), None)

    def close(self, timeout_s: float = 10.0) -> None:
        """End the threads, waiting so long in all; what runs goes on."""
        deadline = time.monotonic() + timeout_s
        for kept in self._kept.values():
            kept.keeper.close(0)
        for kept in self._kept.values():
            kept.keeper.close(max(0.0, deadline - time.monotonic()))
        self._leaving.close(max(0.0, deadline - time.monotonic()))

    def _keep(self, id: str, revision: int, instance: Instance, health: Health) -> None:
        named = replace(instance, id=InstanceId(id, "live"))
        keeper = LiveKeeper(id, self._host, look_s=min(0.5, health.interval_s))
        keeper.set(named, _restart(), _probe(health))
        keeper.open()
        self._kept[id] = _Kept(revision, named, keeper)

    def _record(self, id: str, kept: _Kept) -> Replica:
        view = kept.keeper.view()
        words = self._logs(id) if _is_broken(view) else ""
        where = f"{kept.instance.address}:{view.port}" if view.port is not None else ""
        state = "ready" if _state(kept) == "ready" else "starting"
        cause = view.error or _past(view)
        return Replica(id, kept.revision, state, where, cause, words)  # type: ignore[arg-type]

    def _logs(self, id: str) -> str:
        try:
            return self._host.logs(InstanceId(id, "live"), LOG_LINES)
        except EdgeError:
            return ""


def _leaving_record(each: Leaver) -> Replica:
    where = "" if each.port is None else f"{each.address}:{each.port}"
    return Replica(each.id, each.revision, "draining", where, each.trouble or "")


def _state(kept: _Kept) -> State:
    # The keeper starts it again by itself: it is not another's to be replaced.
    return "ready" if kept.keeper.view().health == "healthy" else "starting"


def _is_broken(view: LiveView) -> bool:
    """A host that is away says nothing of a replica."""
    is_ill = view.health == "unhealthy" or (view.error is not None and view.restarts > 0)
    return is_ill and not view.is_host_away


def _past(view: LiveView) -> str:
    """Of one that is well now, and was not."""
    if not view.restarts:
        return ""
    how = "it was not well"
    if view.is_out_of_memory:
        how = "it took too much memory"
    elif view.exit_code is not None:
        how = f"it ended with exit code {view.exit_code}"
    return f"was started again {view.restarts} times, last as {how}"


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
