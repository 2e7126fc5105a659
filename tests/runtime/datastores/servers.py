"""A real sshd and a real moto server on free ports of loopback; both end with the test session.

Where sshd is missing the test skips itself; under INFERRY_STRICT=1 (CI) that is a failure.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.engine import program
from tests.ports import free_port

CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_ed25519
HostKey {folder}/host_ecdsa
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""
PENALTIES = "PerSourcePenalties no\n"
"""From OpenSSH 9.8 on, or refused logins of one test would shut out the next."""


@dataclass(frozen=True, slots=True)
class Sshd:
    """``private_key`` logs in as ``user``; ``host_key`` is ``type base64``."""

    port: int
    user: str
    private_key: bytes
    host_key: str
    fingerprint: str
    pid: int


@dataclass(frozen=True, slots=True)
class Moto:
    """An S3 API that takes any credentials."""

    endpoint: str
    port: int

    def make(self, bucket: str) -> None:
        """A new bucket."""
        request = urllib.request.Request(f"{self.endpoint}/{bucket}", method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


@contextlib.contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """Its files are in ``folder``, which only its owner may enter."""
    command = program("sshd")
    folder.chmod(0o700)
    for name, kind in (("host_ed25519", "ed25519"), ("host_ecdsa", "ecdsa"), ("user", "ed25519")):
        _keygen("-q", "-t", kind, "-N", "", "-f", str(folder / name))
    (folder / "authorized_keys").write_bytes((folder / "user.pub").read_bytes())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)  # sshd's own, at a boot
    port = free_port()
    configuration = folder / "sshd_config"
    text = CONFIGURATION.format(port=port, folder=folder)
    configuration.write_text(text + PENALTIES)
    if subprocess.run([command, "-t", "-f", configuration], capture_output=True).returncode:
        configuration.write_text(text)
    with _running([command, "-D", "-e", "-f", str(configuration)], port, folder / "log") as pid:
        yield Sshd(
            port=port,
            user=_this_user(),
            private_key=(folder / "user").read_bytes(),
            host_key=" ".join((folder / "host_ed25519.pub").read_text().split()[:2]),
            fingerprint=_keygen("-lf", str(folder / "host_ed25519.pub")).split()[1],
            pid=pid,
        )


@contextlib.contextmanager
def running_moto(folder: Path) -> Iterator[Moto]:
    """Its log is in ``folder``."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, folder / "log"):
        yield Moto(f"http://127.0.0.1:{port}", port)


@contextlib.contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[int]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        wait_until(lambda: _answers(port) or process.poll() is not None, "it answers")
        assert process.poll() is None, log.read_text()
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the group that we started, and only it
        process.wait()


def wait_until(is_so: Callable[[], bool], what: str, within_s: float = 30) -> None:
    """Raises AssertionError when it is not so in time."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _keygen(*arguments: str) -> str:
    done = subprocess.run(
        ["ssh-keygen", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def _this_user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
