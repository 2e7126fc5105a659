"""A host of supervised processes, for devices without Docker.

host = ProcessHost(Path("/var/lib/inferry-edge/processes"), stock)
host.prepare(digest, lambda: False)
host.start(Instance(InstanceId("digits", "live"), digest, port=8001))

An image without a base runs with the Python and the packages of this device; a container image with
its own packages, on this device's Python, when that is the one it was made for. Each instance has a
launcher (launcher.py) as its parent, which does not end with the agent.

Limits: cgroup v2 where the machine lets us; else the launcher weighs memory (what is shared counts
once) and processes each quarter of a second and ends what takes too much, RLIMIT_DATA bounds what
grows faster, and ``cpus`` is a number of whole CPUs.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edge.errors import HostError
from edge.hosts.board import check_root, with_board
from edge.hosts.boot import boot_id
from edge.hosts.cgroup import Cgroups
from edge.hosts.fingerprint import fingerprint
from edge.hosts.port import SECRETS_VARIABLE, Instance, InstanceId, Observed
from edge.hosts.run_folder import MARKER, RunFolder, Spec, remove_tree
from edge.hosts.trees import Ready, Trees
from edge.stock.port import Stock
from registry.proof.room import environment, own_environment, put_python

log = logging.getLogger(__name__)
LOG_BYTES = 2 * 1024 * 1024
KILL_S = 10.0
"""For the kernel to end what was killed."""
SOCKET_VARIABLE = "INFERRY_AGENT_SOCKET"
SOCKET_NAME = "agent.sock"


class ProcessHost:
    """The ModuleHost of plain processes. ``user`` and its group run the modules when the agent is
    root; None: as whom the agent runs. ``cgroups``: None for none."""

    kind = "process"

    def __init__(
        self,
        folder: Path,
        stock: Stock,
        *,
        user: tuple[int, int] | None = None,
        cgroups: Cgroups | None = None,
        log_bytes: int = LOG_BYTES,
    ) -> None:
        self._runs = folder / "run"
        self._runs.mkdir(parents=True, exist_ok=True)
        for left in self._runs.glob(".*"):
            remove_tree(left)
        self._trees = Trees(folder, stock)
        self._user = user if os.geteuid() == 0 else None
        self._cgroups = cgroups
        self._log_bytes = log_bytes
        self._changing: defaultdict[InstanceId, threading.RLock] = defaultdict(threading.RLock)

    def __repr__(self) -> str:
        bound = "cgroup v2" if self._cgroups else "rlimits and the launcher's watch"
        return f"ProcessHost({self._runs.parent}, limits by {bound})"

    def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
        self._trees.prepare(digest, is_cancelled)

    def start(self, instance: Instance) -> None:
        with self._changing[instance.id], _disk_errors_said(f"{instance.id} could not be started"):
            if self._trees.is_fpga(instance.digest):
                instance = self._on_board(instance)
            run, wanted = self._run(instance.id), fingerprint(instance)
            if run.is_running():
                spec = run.spec()
                if spec is not None and spec.fingerprint == wanted:
                    return
                self.stop(instance.id)
            ready = self._trees.ready(instance.digest)
            _check_free(instance)
            run.path.mkdir(parents=True, exist_ok=True)
            run.launch(self._spec(instance, ready, run, wanted))

    def stop(self, id: InstanceId, grace_s: float = 10.0) -> None:
        with self._changing[id], _disk_errors_said(f"{id} could not be stopped"):
            run = self._run(id)
            deadline = time.monotonic() + grace_s
            if run.send(signal.SIGTERM) and not run.wait_end(deadline - time.monotonic()):
                run.send(signal.SIGCONT)  # a module with the agent's own user may have stopped it
                run.send(signal.SIGUSR1)
                if not run.wait_end(KILL_S):
                    raise HostError(f"{id} does not end, though it was killed")
            run.remove()
            if self._cgroups:
                self._cgroups.remove(self._group(run))

    def reload(self, id: InstanceId) -> None:
        if not self._run(id).send(signal.SIGHUP):
            raise HostError(f"{id} does not run")

    def list(self) -> Sequence[Observed]:
        with _disk_errors_said("the processes cannot be listed"):
            names = sorted(path for path in self._runs.iterdir() if not path.name.startswith("."))
            return [seen for path in names if (seen := _observed(RunFolder(path))) is not None]

    def logs(self, id: InstanceId, lines: int) -> str:
        with _disk_errors_said(f"what {id} printed cannot be read"):
            return self._run(id).last_lines(lines)

    def discard(self, keep: Sequence[str]) -> None:
        running = {each.digest for each in self.list() if each.state == "running"}
        with _disk_errors_said("old images cannot be removed"):
            self._trees.discard([*keep, *running])

    def _on_board(self, instance: Instance) -> Instance:
        """Raises HostError for what must not run with the rights that a board needs."""
        if os.geteuid() == 0:
            check_root(instance)
        return with_board(instance, os.environ)

    def _run(self, id: InstanceId) -> RunFolder:
        if not id.module or "/" in id.module or id.module.startswith("."):
            raise HostError(f"{ascii(id.module)[:80]} cannot name a module")
        return RunFolder(self._runs / f"{id.module}.{id.slot}")

    def _group(self, run: RunFolder) -> str:
        """Of its cgroup: a machine may have several agents, with modules of one name."""
        return f"{run.path.name}-{zlib.crc32(os.fsencode(self._runs.resolve())):08x}"

    def _spec(self, instance: Instance, ready: Ready, run: RunFolder, wanted: str) -> Spec:
        limits = instance.limits
        remove_tree(run.room)
        run.room.mkdir(mode=0o755)
        python, env = _python(ready, run.room)
        user = self._user
        if ready.is_fpga and user is not None:
            log.info("%s runs as the agent's own user: it needs the board", instance.id)
            user = None
        if user is not None:
            for name in ("home", "tmp"):
                os.chown(run.room / name, *user)
        served = ready.bundle if instance.bundle is None else instance.bundle / "current"
        where = ("--host", instance.address, "--port", str(instance.port))
        group = self._cgroups and self._cgroups.make(self._group(run), limits)
        return Spec(
            module=instance.id.module,
            slot=instance.id.slot,
            digest=instance.digest,
            fingerprint=wanted,
            address=instance.address,
            port=instance.port,
            boot=boot_id(),
            command=[str(python), "-m", "scoring", str(served), *where, *instance.args],
            env={**env, **instance.env, **_own_variables(instance, run)},
            cwd=str(served.resolve()),
            log_bytes=self._log_bytes // 2,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            cpus=chosen_cpus(instance.id.module, limits.cpus, sorted(os.sched_getaffinity(0))),
            user=user,
            cgroup=None if group is None else str(group),
        )


def chosen_cpus(module: str, cpus: float | None, available: Sequence[int]) -> list[int] | None:
    """Which of the device's CPUs a module gets; modules begin at different ones. None: all."""
    if cpus is None or math.ceil(cpus) >= len(available):
        return None
    first = zlib.crc32(module.encode()) % len(available)
    count = max(1, math.ceil(cpus))
    return sorted(available[(first + n) % len(available)] for n in range(count))


def _python(ready: Ready, room: Path) -> tuple[Path, dict[str, str]]:
    """The interpreter and its environment: the image's packages, or the device's."""
    python = Path(sys.executable)
    if not ready.is_container:
        return python, own_environment(room)
    env = environment(room, ready.trees)
    return put_python(python_here(), room), env


def python_here() -> Path:
    """The device's interpreter itself, of which a virtual environment can be made."""
    real = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    return real if real.exists() else Path(sys.executable).resolve()


def _own_variables(instance: Instance, run: RunFolder) -> dict[str, str]:
    own = {MARKER: str(run.path)}
    if instance.run_folder is not None:
        own[SOCKET_VARIABLE] = str(instance.run_folder / SOCKET_NAME)
    if instance.secrets_folder is not None:
        own[SECRETS_VARIABLE] = str(instance.secrets_folder)
    return own


def _check_free(instance: Instance) -> None:
    """The server would end at once; this names the reason."""
    if instance.port == 0:
        return
    try:
        family = socket.AF_INET6 if ":" in instance.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((instance.address, instance.port))
    except OSError as error:
        where = f"{instance.address}:{instance.port}"
        raise HostError(f"{instance.id} cannot listen on {where}: {error.strerror}") from error


def _observed(run: RunFolder) -> Observed | None:
    """None: nothing that was started."""
    is_running, spec = run.is_running(), run.spec()
    if spec is None:
        return None
    record, ending = run.record(), run.ending()
    if spec.boot != boot_id():  # the device went down, and it with it
        ending = None
    return Observed(
        InstanceId(spec.module, spec.slot),
        spec.digest,
        "running" if is_running else "exited",
        address=spec.address,
        port=(spec.port or (record and record.port) or None) if is_running else None,
        exit_code=None if is_running or ending is None else ending.exit_code,
        is_out_of_memory=not is_running and ending is not None and ending.is_out_of_memory,
        started_at_s=None if record is None else record.started_at_s,
    )


@contextlib.contextmanager
def _disk_errors_said(what: str) -> Iterator[None]:
    """Errors of files and processes as HostError, without their paths."""
    try:
        yield
    except OSError as error:
        raise HostError(f"{what}: {error.strerror or type(error).__name__}") from error
