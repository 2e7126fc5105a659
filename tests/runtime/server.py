"""Runs a server as a user would, and an ``inferry`` command, for the tests of this folder."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, without what would change the commands' behaviour. Images have no
    base unless a test says so: none can be pulled here."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("INFERRY_", "AZUREML_"))}
    return ours | {"PATH": f"{BIN}:{os.environ['PATH']}", "INFERRY_BASE": "none"} | extra


def inferry(*arguments: str, cwd: Path, stdin: str = "", **extra: str) -> Done:
    """Runs the installed command."""
    done = subprocess.run(
        [BIN / "inferry", *arguments],
        cwd=cwd,
        env=environment(**extra),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def train_digits(folder: Path) -> None:
    """The digits example's model.onnx and held_out.json in ``folder``."""
    script = ROOT / "examples/digits/train.py"
    subprocess.run(
        [sys.executable, script, folder],
        check=True,
        capture_output=True,
        env=environment(OMP_NUM_THREADS="1"),
    )


class Server:
    """A server process; what it prints goes to a file, so that it never waits for a reader."""

    def __init__(self, command: list[str], *, cwd: Path, **extra: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=cwd,
            env=environment(**extra),
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def wait_until_listening(self) -> int:
        """The port of the line "Listening on", once it is there."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"^Listening on http://.*:(\d+)$", self.log, re.M):
                return int(found[1])
            time.sleep(0.02)
        raise AssertionError(f"not ready; it said:\n{self.log}")

    def wait_until_ready(self, port: int, path: str = "/readyz") -> None:
        """Returns when ``path`` says so."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                status, _body = request(f"http://127.0.0.1:{port}{path}")
                if status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"not ready; it said:\n{self.log}")

    def stop(self) -> int:
        """Asks it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        finally:
            self.process.kill()
            self._log.close()


def request(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of a GET, or of a POST of JSON."""
    asked = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
