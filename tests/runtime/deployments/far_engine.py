"""A second Docker Engine of this machine, which plays one of another: with a root, a bridge and a
containerd namespace of its own, reached over TLS and over ssh, never by its socket.

It changes no iptables rule, as the first engine's are there too: ports are published by its proxy.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from registry.docker_engine import connect
from registry.engine_address import EngineAddress
from registry.errors import EngineError
from tests.engine import program
from tests.ports import free_port

START_S = 60.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class FarEngine:
    """``tls``: the folder of a client that it takes; ``ca``: who issued its certificate."""

    folder: Path
    port: int
    tls: Path
    ca: trustme.CA

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def run(self, *words: str) -> str:
        """What ``docker WORDS`` prints, asked on its own machine."""
        command = ["docker", "-H", f"unix://{self.folder}/sock", *words]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="session")
def far_engine() -> Iterator[FarEngine]:
    """Skips without root, dockerd or ip."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a Docker Engine of its own")
    dockerd = program("dockerd")
    folder = Path(tempfile.mkdtemp(prefix="inferry-far-"))
    ca = trustme.CA()
    with contextlib.ExitStack() as held:
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        bridge = held.enter_context(_bridge())
        ca.cert_pem.write_to_path(folder / "ca.pem")
        server = ca.issue_cert("127.0.0.1", "localhost")
        write_identity(folder, server)
        tls = client_files(folder / "client", ca, ca)
        port = free_port()
        log = held.enter_context((folder / "log").open("wb"))
        started = subprocess.Popen(
            [
                *(dockerd, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                *("--pidfile", f"{folder}/pid", "--bridge", bridge, "--iptables=false"),
                *("--ip6tables=false", "--ip-masq=false", "--containerd-namespace", bridge),
                *("--containerd-plugins-namespace", f"{bridge}-plugins", "--tlsverify"),
                *("--tlscacert", f"{folder}/ca.pem", "--tlscert", f"{folder}/cert.pem"),
                *("--tlskey", f"{folder}/key.pem", "-H", f"tcp://127.0.0.1:{port}"),
                *("-H", f"unix://{folder}/sock"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,
        )
        held.callback(_end, started)
        address = EngineAddress(f"unix://{folder}/sock")
        wait_until(lambda: _answers(address, started, folder / "log"), START_S)
        yield FarEngine(folder, port, tls, ca)


def write_identity(folder: Path, identity: trustme.LeafCert) -> None:
    """cert.pem and key.pem."""
    folder.mkdir(parents=True, exist_ok=True)
    identity.private_key_pem.write_to_path(folder / "key.pem")
    for number, each in enumerate(identity.cert_chain_pems):
        each.write_to_path(folder / "cert.pem", append=number > 0)


def client_files(folder: Path, trusted: trustme.CA, issuer: trustme.CA) -> Path:
    """The folder of a client that trusts ``trusted`` and is of ``issuer``."""
    write_identity(folder, issuer.issue_cert("controller@inferry.test"))
    trusted.cert_pem.write_to_path(folder / "ca.pem")
    return folder


def wait_until(is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Raises AssertionError."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def _answers(address: EngineAddress, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-2000:]
    try:
        connect(2, 2, address).close()
    except EngineError:
        return False
    return True


_LIBC = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """A run of tests that is killed tidies nothing."""
    os.setsid()
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """A bridge with a network that this machine has not."""
    ip = program("ip")
    _tidy(ip)
    for number in range(1, 200):
        name = f"ify{os.getpid()}-{number}"
        made = subprocess.run([ip, "link", "add", name, "type", "bridge"], capture_output=True)
        taken = subprocess.run([ip, "-o", "addr"], capture_output=True, text=True, check=True)
        if made.returncode == 0 and f"10.231.{number}." not in taken.stdout:
            break
    else:
        pytest.skip("no bridge can be made here")
    try:
        for words in (("addr", "add", f"10.231.{number}.1/24", "dev", name),
                      ("link", "set", name, "up")):  # fmt: skip
            subprocess.run([ip, *words], check=True, capture_output=True)
        yield name
    finally:
        subprocess.run([ip, "link", "del", name], capture_output=True, check=False)


def _tidy(ip: str) -> None:
    """Bridges of runs that were killed."""
    links = subprocess.run([ip, "-br", "link"], capture_output=True, text=True, check=True)
    for name in re.findall(r"^(ify[0-9]+-[0-9]+)\b", links.stdout, re.MULTILINE):
        if not Path(f"/proc/{name[3:].partition('-')[0]}").exists():
            subprocess.run([ip, "link", "del", name], capture_output=True, check=False)


@dataclass(frozen=True, slots=True)
class FarSsh:
    """sshd before the engine: ``config`` is what its one user has; ``stranger`` has another key,
    ``careless`` knows no host."""

    port: int
    config: Path
    stranger: Path
    careless: Path

    @property
    def url(self) -> str:
        return f"ssh://root@127.0.0.1:{self.port}"


@pytest.fixture(scope="session")
def far_ssh(far_engine: FarEngine) -> Iterator[FarSsh]:
    """Skips without sshd."""
    sshd, folder, port = program("sshd"), far_engine.folder / "ssh", free_port()
    program("ssh")
    folder.mkdir(mode=0o700)
    for name in ("host", "user", "other"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, capture_output=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    key = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    (folder / "nobody").write_text("")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nUsePAM no\n"
        f"KbdInteractiveAuthentication no\nStrictModes no\nPermitRootLogin prohibit-password\n"
        f"MaxStartups 100\nSetEnv DOCKER_HOST=unix://{far_engine.folder}/sock\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(folder / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent,
        )
    try:
        wait_until(lambda: _listens(port))
        yield FarSsh(
            port,
            _config(folder, "config", "user", "known"),
            _config(folder, "stranger", "other", "known"),
            _config(folder, "careless", "user", "nobody"),
        )
    finally:
        _end(process)


def _config(folder: Path, name: str, key: str, known: str) -> Path:
    path = folder / name
    path.write_text(
        f"Host *\nIdentityFile {folder}/{key}\nIdentitiesOnly yes\nIdentityAgent none\n"
        f"UserKnownHostsFile {folder}/{known}\nGlobalKnownHostsFile none\n"
    )
    return path


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Road:
    """A port that leads to another, and can be cut: at once, or after so many bytes."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.cut_after: int | None = None
        self._passed = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.is_cut = False
        self._begin(self._accept)

    def cut(self) -> None:
        """All that go on it, too."""
        self.is_cut = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """It leads there again."""
        self.is_cut, self.cut_after, self._passed = False, None, 0

    def close(self) -> None:
        """For good."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(60)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self.is_cut:
                    client.close()
                    continue
                self._begin(lambda client=client: self._lead(client))  # type: ignore[misc]

    def _lead(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as there:
            self._open |= {client, there}
            back = threading.Thread(target=self._copy, args=(there, client))
            back.start()
            self._copy(client, there)
            back.join()
            self._open -= {client, there}

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._passed += len(data)
                if self.cut_after is not None and self._passed > self.cut_after:
                    self.cut()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _begin(self, run: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()
