"""A Docker Engine of one's own, to be killed: nothing of the machine's is touched.

    with own_engine(live_restore=True) as engine:
        engine.host                  # for DOCKER_HOST
        engine.kill()
        engine.start()

It has folders, socket and bridge of its own, and writes no firewall rules: those are all engines'.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import cpu
from benchmarks.outcome import ROOT

BRIDGE, ADDRESS = "inferry-bench", "10.213.77.1/24"
START_S = 60.0
STOP_S = 30.0


class Engine:
    """dockerd in ``folder``, with its socket there."""

    def __init__(self, folder: Path, *, live_restore: bool) -> None:
        self._folder, self._live_restore = folder, live_restore
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """What DOCKER_HOST must be."""
        return f"unix://{self._folder}/docker.sock"

    def start(self) -> None:
        """Returns at once; see ``wait``."""
        # Of those that were killed: where no init takes their leave, they seem to be alive.
        for name in ("docker.pid", "exec/containerd/containerd.pid"):
            (self._folder / name).unlink(missing_ok=True)
        command = ["dockerd", "--host", self.host, "--data-root", f"{self._folder}/data"]
        command += [
            "--exec-root",
            f"{self._folder}/exec",
            "--pidfile",
            f"{self._folder}/docker.pid",
        ]
        command += ["--bridge", BRIDGE, "--iptables=false", "--ip-masq=false"]
        command += ["--live-restore"] if self._live_restore else []
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it answers. Raises RuntimeError."""
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            is_over = self._process is None or self._process.poll() is not None
            if is_over or time.monotonic() > deadline_s:
                said = (self._folder / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"dockerd does not answer; it said:\n{said}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """All containers of it, and the engine itself."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            found = self._docker("ps", "--all", "--quiet").stdout.decode().split()
            if found:
                self._docker("rm", "--force", *found)
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._end_containers()

    def _end_containers(self) -> None:
        """Those that an engine which does not come back has left: its shims, and what they run."""
        mark = f"{self._folder}/exec"
        for process in Path("/proc").glob("[0-9]*"):
            pid = int(process.name)
            if mark in cpu.command_line(pid):
                for each in cpu.tree(pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGKILL)

    def _answers(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._docker("version", "--format", "{{.Server.Version}}").returncode == 0
        return False

    def _docker(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = ["docker", "--host", self.host, *words]
        return subprocess.run(command, capture_output=True, timeout=60)


def why_none() -> str | None:
    """Why there can be no engine of one's own here."""
    if os.geteuid() != 0:
        return "it needs root"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in ("dockerd", "docker", "ip") if not shutil.which(name, path=path)]
    return f"it needs {missing[0]}: scripts/system-packages" if missing else None


@contextlib.contextmanager
def own_engine(*, live_restore: bool) -> Iterator[Engine]:
    """For the block; it answers. Raises RuntimeError."""
    folder = Path(tempfile.mkdtemp(prefix="inferry-bench-engine-", dir=_room()))
    engine = Engine(folder, live_restore=live_restore)
    try:
        _ip("link", "add", "name", BRIDGE, "type", "bridge")
        _ip("addr", "add", ADDRESS, "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        engine.start()
        engine.wait()
        yield engine
    finally:
        engine.stop()
        with contextlib.suppress(RuntimeError):
            _ip("link", "delete", BRIDGE)
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _room() -> Path:
    """Where overlay can be: not in a folder that is one itself."""
    room = Path("/var/tmp")
    return room if room.is_dir() else ROOT / "build"


def _ip(*words: str) -> None:
    done = subprocess.run(
        ["ip", *words],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.decode(errors='replace')}")


def _unmount(folder: Path) -> None:
    """What a killed engine left mounted."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], capture_output=True)
