"""A workspace with images, ``inferry up`` as a process, and nothing left behind.

with stand(scratch) as found:
    found.deploy("web", "digits", replicas=2)
    found.controller.kill()
    found.controller.start()
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks import cpu
from benchmarks.outcome import ROOT
from edge.hosts.processes import ProcessHost
from edge.hosts.run_folder import RunFolder
from registry import Workspace
from registry.deployments import (
    Deployment,
    Health,
    Replica,
    RevisionSettings,
    Rollout,
    ServiceSettings,
)
from runtime.balance.balancer import Balancer
from runtime.deployments.here import balancer_folder
from runtime.deployments.stock import WorkspaceStock

ACTOR = "benchmark"
POLL_S = 0.02
START_S = 120.0
AT_ONCE = Rollout(steps=(100.0,), step_s=0.0)


class StuckError(Exception):
    """What was waited for did not come."""


class Controller:
    """``inferry up``."""

    def __init__(self, root: Path, scratch: Path, environ: Mapping[str, str]) -> None:
        self._root, self._log, self._environ = root, scratch / "up.log", environ
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the process is there; what it does comes later."""
        command = [sys.executable, "-m", "runtime.cli.main", "up", "--workspace", str(self._root)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM; idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that it said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


@dataclass(frozen=True, slots=True)
class Stand:
    """``scratch``: for files of a part."""

    workspace: Workspace
    controller: Controller
    scratch: Path
    names: list[str] = field(default_factory=list)

    def deploy(
        self,
        name: str,
        image: str,
        *,
        target: str = "local",
        service: ServiceSettings | None = None,
        settings: RevisionSettings | None = None,
    ) -> int:
        """Its port, once it runs."""
        self.names.append(name)
        self.workspace.deployments.create(
            name,
            image,
            target=target,
            service=service or ServiceSettings(rollout=AT_ONCE),
            settings=settings or RevisionSettings(health=Health(start_s=60.0)),
            actor=ACTOR,
        )
        found = self.until(name, lambda it: it.observed is not None and is_state(it, "running"))
        assert found.observed is not None
        assert found.observed.url is not None
        port = urlsplit(found.observed.url).port
        assert port is not None
        return port

    def remove(self, name: str) -> None:
        """Until nothing of it runs."""
        self.workspace.deployments.delete(name, actor=ACTOR)
        deadline_s = time.monotonic() + START_S
        while name in self.workspace.deployments.changes():
            if time.monotonic() > deadline_s:
                raise StuckError(f"{name} does not end; the controller said:\n{self._words()}")
            time.sleep(POLL_S)
        self.names.remove(name)

    def get(self, name: str) -> Deployment:
        return self.workspace.deployments.get(name)

    def until(
        self, name: str, wanted: Callable[[Deployment], bool], within_s: float = START_S
    ) -> Deployment:
        """As it is when it is as wanted. Raises StuckError."""
        deadline_s = time.monotonic() + within_s
        while True:
            now = self.get(name)
            if wanted(now):
                return now
            if time.monotonic() > deadline_s:
                state = now.observed and (now.observed.state, now.observed.cause)
                raise StuckError(
                    f"{name} is {state} after {within_s:g} s; the controller said:\n{self._words()}"
                )
            time.sleep(POLL_S)

    def update(
        self,
        name: str,
        *,
        image: str | None = None,
        environment: dict[str, str] | None = None,
        start_s: float | None = None,
    ) -> Deployment:
        """As declared; another controller does it."""
        before = self.get(name)
        settings = before.revision(before.goal).settings
        if environment is not None:
            settings = msgspec.structs.replace(settings, environment=environment)
        if start_s is not None:
            settings = msgspec.structs.replace(settings, health=Health(start_s=start_s))
        return self.workspace.deployments.update(name, image=image, settings=settings, actor=ACTOR)

    def scale(self, name: str, replicas: int) -> None:
        """Declared."""
        service = self.get(name).service
        self.workspace.deployments.update(
            name,
            service=msgspec.structs.replace(
                service, least_replicas=replicas, most_replicas=replicas
            ),
            actor=ACTOR,
        )

    def pids(self, replica: str) -> list[int]:
        """All processes of one, the first of them first; none where it does not run."""
        run = RunFolder(self._processes / "run" / f"{replica}.live")
        record = run.record()
        return cpu.tree(record.pid) if record is not None and run.is_running() else []

    def kill_replica(self, replica: str) -> None:
        """SIGKILL, to each of its processes."""
        for pid in self.pids(replica):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def haproxies(self) -> list[int]:
        """Processes of HAProxy of this workspace."""
        folder, found = balancer_folder(self.workspace.root), []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(process / "cwd")) == folder:
                    found.append(int(process.name))
        return sorted(found)

    @property
    def _processes(self) -> Path:
        return self.workspace.root / "deployments" / "processes" / "local"

    def _words(self) -> str:
        return self.controller.log[-2000:]


@contextlib.contextmanager
def stand(environ: Mapping[str, str] | None = None, base: str = "none") -> Iterator[Stand]:
    """With a controller that runs. ``environ``: what it has besides this process's."""
    scratch = Path(tempfile.mkdtemp(prefix="inferry-bench-"))
    scratch.chmod(0o755)  # replicas are not root's
    workspace = Workspace.init(scratch / "ws", base=base)
    (scratch / "ws").chmod(0o755)
    controller = Controller(workspace.root, scratch, dict(environ or {}))
    found = Stand(workspace, controller, scratch)
    try:
        controller.start()
        yield found
    finally:
        _tidy(found)
        shutil.rmtree(scratch, ignore_errors=True)


def _tidy(found: Stand) -> None:
    """Nothing runs any more, whatever became of the part."""
    with contextlib.suppress(Exception):
        if not found.controller.is_running:
            found.controller.start()
        for name in list(found.names):
            found.remove(name)
    found.controller.stop()
    root = found.workspace.root
    if (root / "deployments" / "processes" / "local").exists():
        host = ProcessHost(root / "deployments" / "processes" / "local", WorkspaceStock(root))
        for each in host.list():
            host.stop(each.id, 1.0)
    folder = balancer_folder(root)
    if folder.exists():
        with Balancer(folder) as balancer:
            balancer.stop(1.0)
        shutil.rmtree(folder, ignore_errors=True)


def ready(found: Deployment) -> list[Replica]:
    """The replicas that answer."""
    seen = found.observed
    return [] if seen is None else [each for each in seen.replicas if each.state == "ready"]


def is_state(found: Deployment, state: str) -> bool:
    """As the controller saw it after the latest change."""
    seen = found.observed
    return seen is not None and seen.state == state and seen.change >= found.change


def is_live(found: Deployment, revision: int) -> bool:
    """Whether this revision has all of the traffic, and the controller is done with it."""
    shares = [share for share in found.traffic if not share.is_shadow]
    return [share.revision for share in shares] == [revision] and is_state(found, "running")


def kept_json(path: Path, value: object) -> None:
    """For whoever reads the figures with a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")
