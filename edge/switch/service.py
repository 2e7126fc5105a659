"""The instances of one module: which release is live, and a candidate beside it. Each method can be
done again after a kill at any point of it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable

from edge.errors import EdgeError, GateError, HostError
from edge.hosts.port import InstanceId, ModuleHost, Observed, Slot
from edge.keeping.keeper import LiveKeeper
from edge.keeping.port import LiveView
from edge.messages.desired import HostKind, Module
from edge.switch.bundles import ModuleFolders
from edge.switch.gate import find, last_words
from edge.switch.plan import instance, is_served_alike
from edge.switch.record import Record, Release
from edge.switch.tools import Tools

log = logging.getLogger(__name__)
GRACE_S = 10.0
BAD_GRACE_S = 2.0
"""Of a version that is given up: what it still answers is worth less than the one before."""
DROP_S = 60.0
LOG_LINES = 400
RELOADED = re.compile(r"generation \d+ serves now|reload failed.*")
SLOTS: tuple[Slot, ...] = ("next", "live")
NOTHING = LiveView(None, "stopped")


class Service:
    """``stopping``: ends waits."""

    def __init__(self, name: str, tools: Tools, stopping: threading.Event) -> None:
        self.name = name
        self.folders = ModuleFolders(tools.state, name, tools.stock)
        self.live_id = InstanceId(name, "live")
        self.next_id = InstanceId(name, "next")
        self._tools = tools
        self._stopping = stopping
        self._keepers: dict[str, LiveKeeper] = {}
        self._is_closed = False
        self._candidates_on = set(tools.hosts)
        """Hosts that may have a candidate: an agent that was killed may have left one anywhere."""
        self._next_drop = 0.0
        self._making = threading.Lock()

    def host(self, kind: HostKind) -> ModuleHost:
        """Raises HostError."""
        if kind not in self._tools.hosts:
            raise HostError(f"{self.name} ran in {kind}, which this device has no more")
        return self._tools.hosts[kind]

    def keeper(self, kind: HostKind) -> LiveKeeper:
        """Raises HostError."""
        host = self.host(kind)
        with self._making:
            found = self._keepers.get(kind)
            if found is None:
                found = self._keepers[kind] = self._tools.make_keeper(self.name, host)
                if not self._is_closed:
                    found.open()
            return found

    def close(self) -> None:
        """End the keepers; what runs goes on."""
        with self._making:
            self._is_closed = True
            keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.close()

    def view(self, release: Release | None) -> LiveView:
        """As it is kept."""
        keeper = None if release is None else self._keepers.get(release.host)
        return NOTHING if keeper is None else keeper.view()

    def keep(self, release: Release) -> None:
        """Have it looked after; what runs with these settings goes on. Raises HostError."""
        module = release.module
        keeper = self.keeper(release.host)
        keeper.set(instance(release, "live", self.folders), module.restart, module.probe)

    def bring(
        self,
        release: Release,
        old: Release | None,
        prove: Callable[[bool], None],
        *,
        may_reload: bool = True,
        grace_s: float = GRACE_S,
    ) -> tuple[bool, int]:
        """Make ``release`` what is live, in place of ``old``. ``prove`` is called once it runs, and
        before the keeper may start it again; it is told whether a reload was enough, and may raise.
        ``may_reload``: where that is enough; what is ill is not trusted with it. ``grace_s``: what
        ``old`` gets to end. Returns whether a reload was enough, and how many restarts the keeper
        has counted before. Raises EdgeError, OSError."""
        module, host = release.module, self.host(release.host)
        self.folders.put("live", module.digest)
        if old is not None and old.host != release.host and old.host in self._tools.hosts:
            self.retire(old, grace_s)
        is_reload = (
            may_reload
            and old is not None
            and is_served_alike(old, release)
            and self.live(release) is not None
        )
        if not is_reload:
            host.prepare(release.runtime, self._stopping.is_set)
        keeper = self.keeper(release.host)
        with keeper.hands_off():
            self.keep(release)
            restarts = keeper.view().restarts
            if is_reload:
                is_reload = self._reload(release, old, host)
            if not is_reload:
                self._start(release, host, grace_s)
            prove(is_reload)
        return is_reload, restarts

    def retire(self, release: Release, grace_s: float) -> None:
        """Nothing is live any more. Raises HostError."""
        module = release.module
        self.keeper(release.host).set(None, module.restart, module.probe)
        self.host(release.host).stop(self.live_id, grace_s)

    def live(self, release: Release | None) -> Observed | None:
        """The live instance of it, where it runs and answers. Raises HostError."""
        if release is None or release.host not in self._tools.hosts:
            return None
        seen = find(self.host(release.host), self.live_id)
        is_up = seen is not None and seen.state == "running" and seen.port
        return seen if is_up else None

    def is_host_well(self, kind: HostKind) -> bool:
        """Whether it says what runs."""
        try:
            self.host(kind).list()
        except EdgeError:
            return False
        return True

    def are_hosts_well(self) -> bool:
        """Whether all hosts do."""
        kinds: tuple[HostKind, ...] = ("docker", "process")
        return all(self.is_host_well(kind) for kind in kinds if kind in self._tools.hosts)

    def start_next(self, release: Release) -> None:
        """The candidate, beside what is live. Raises EdgeError, OSError."""
        self.folders.put("next", release.module.digest)
        self.folders.serve("next", release.module.digest)
        self._candidates_on.add(release.host)
        self.host(release.host).start(instance(release, "next", self.folders))

    def drop_next(self) -> None:
        """The candidate, wherever it was started. What fails is tried again by ``drop_left``."""
        for kind in sorted(self._candidates_on):
            host = self._tools.hosts[kind]
            try:
                if find(host, self.next_id) is not None:
                    host.stop(self.next_id, GRACE_S)
                self._candidates_on.discard(kind)
            except HostError as error:
                log.warning("%s: the candidate was not stopped: %s", self.name, error)
        if not self._candidates_on:
            self.folders.clean("next", set())
        self._next_drop = self._tools.clock() + DROP_S

    def drop_left(self) -> None:
        """A candidate that is not gone yet; not too often, as a host that hangs takes its time,
        and the module may be on another."""
        if self._candidates_on and self._tools.clock() >= self._next_drop:
            self.drop_next()

    def tidy(self, record: Record) -> None:
        """What neither the live release nor the one before needs: bundles here, and images in the
        host. The stock's own go when room is wanted."""
        releases = [each for each in (record.live, record.previous) if each is not None]
        self.folders.clean("live", {each.module.digest for each in releases})
        keep = sorted(self._tools.pinned() | record.digests)
        for kind in {each.host for each in releases} & set(self._tools.hosts):
            try:
                self._tools.hosts[kind].discard(keep)
            except HostError as error:
                log.warning("%s: old images are still there: %s", self.name, error)

    def remove(self) -> None:
        """All of it. Raises HostError, having done what could be; may be called again."""
        self.close()
        error: HostError | None = None
        for host in self._tools.hosts.values():
            try:
                for slot in SLOTS:
                    host.stop(InstanceId(self.name, slot), GRACE_S)
            except HostError as failed:
                error = failed
        if error is not None:
            raise error
        self.folders.remove()

    def _start(self, release: Release, host: ModuleHost, grace_s: float) -> None:
        """What runs with these settings goes on. The link is moved when nobody reads it."""
        seen = find(host, self.live_id)
        is_other = seen is not None and seen.digest != release.runtime
        if is_other or self.folders.served("live") != release.module.digest:
            host.stop(self.live_id, grace_s)
        self.folders.serve("live", release.module.digest)
        host.start(instance(release, "live", self.folders))

    def _reload(self, release: Release, old: Release | None, host: ModuleHost) -> bool:
        """Whether it serves the release's bundle now; else it must be started anew. Raises
        GateError when it says that it cannot: then it still serves that of ``old``; and when it
        says nothing, and was not tried beside."""
        before = _last_reload(host.logs(self.live_id, LOG_LINES))
        self.folders.serve("live", release.module.digest)
        try:
            host.reload(self.live_id)
        except HostError as error:
            log.warning("%s: %s", self.name, error)
            host.stop(self.live_id, GRACE_S)
            return False
        deadline = self._tools.clock() + release.module.update.start_s
        while self._tools.clock() < deadline and not self._stopping.is_set():
            said = _last_reload(host.logs(self.live_id, LOG_LINES))
            if said not in (None, before):
                if "failed" in str(said):
                    if old is not None:
                        self.folders.serve("live", old.module.digest)
                    raise GateError("health", f"its bundle cannot be served: {said}")
                self._stopping.wait(self._tools.pace.settle_s)
                return True
            seen = find(host, self.live_id)
            if seen is None or seen.state == "exited":
                said = last_words(host, self.live_id)
                raise GateError("health", f"it ended when it read its new bundle{said}")
            self._stopping.wait(min(0.1, self._tools.pace.look_s))
        if not self._stopping.is_set():
            if release.strategy == "replace":  # nobody saw it start before
                raise GateError("health", "it did not read its new bundle in time")
            log.warning("%s does not say that it has reloaded; it is started anew", self.name)
            host.stop(self.live_id, GRACE_S)
        return False


def _last_reload(log_text: str) -> str | None:
    """The last line of a log that tells how a reload went."""
    found = [line for line in log_text.splitlines() if RELOADED.search(line)]
    return found[-1] if found else None


def is_same_service(old: Release, wanted: Module) -> bool:
    """Whether only how it is looked after, or called, differs."""
    if old.module.digest != wanted.digest or old.module.host != wanted.host:
        return False
    return is_served_alike(old, Release(wanted, old.runtime, old.host, old.kind))
