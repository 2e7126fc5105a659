"""A whole fleet on this machine, of the real programs: mosquitto with TLS and rights, the registry,
the hub, and agents whose modules run as processes or in Docker.

    with Fleet(folder) as fleet:
        fleet.image("digits", model, script)
        fleet.enroll("press-1"); fleet.start_agent("press-1")
        fleet.inferry("edge", "deploy", "sorters", "--module", "digits=digits")
        fleet.wait("it runs", lambda: fleet.runs("press-1", "digits:1"))

Every process is ended at the end. Used by studies here, and by tests/system.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
INFERRY = Path(sys.executable).with_name("inferry")
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
PATIENCE_S = 120.0
STOP_S = 20.0


class Fleet:
    """``folder``: empty, and ours. ``base``: what images start from."""

    def __init__(self, folder: Path, *, base: str = "none") -> None:
        self.folder = folder
        self.base = base
        self.broker_port = free_port()
        self.registry = ""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.inferry("init", str(self.folder / "ws"), "--base", self.base)
            self.start_broker()
            said = self.start(
                "registry", [str(INFERRY), "registry", "serve", "--port", "0"],
                r"ready at (http://\S+)",
            )  # fmt: skip
            self.registry = said
            self.start_hub()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all processes, agents first, which take their modules along."""
        for name in reversed(list(self.processes)):
            self.stop(name, check=False)

    def start_broker(self) -> None:
        """mosquitto, as ``inferry edge broker-config`` has it."""
        if MOSQUITTO is None:
            raise FileNotFoundError("mosquitto is not installed; try: apt-get install mosquitto")
        config, data = self.folder / "broker", self.folder / "broker-data"
        self.inferry(
            "edge", "broker-config", str(config), "--host", "127.0.0.1", "--host", "localhost",
            "--port", str(self.broker_port), "--data", str(data),
        )  # fmt: skip
        data.mkdir(exist_ok=True)
        conf = config / "mosquitto.conf"
        if os.geteuid() == 0:  # else it gives root up, and cannot read this folder
            conf.write_text("user root\n" + conf.read_text())
        self.start("broker", [MOSQUITTO, "-c", str(conf)])
        self.wait("the broker listens", lambda: listens(self.broker_port))

    def start_hub(self) -> None:
        """The hub, once the broker runs."""
        words = [str(INFERRY), "edge", "hub", "--broker", f"127.0.0.1:{self.broker_port}"]
        self.start("hub", words, r"(The hub runs)")

    def image(self, name: str, model: Path, script: Path, *options: str) -> None:
        """The next version of the image, with ``model`` registered under its name."""
        self.inferry("model", "register", str(model), "--name", name)
        self.inferry(
            "image", "create", name, "--model", name, "--script", str(script), "--no-proof",
            *options,
        )  # fmt: skip

    def enroll(self, device: str, *options: str, extra: str = "") -> Path:
        """Its folder. ``extra``: to be added to agent.toml."""
        folder = self.folder / device
        self.inferry(
            "edge", "enroll", device, "--broker", f"127.0.0.1:{self.broker_port}",
            "--registry", self.registry, "--out", str(folder), "--state", "state", *options,
        )  # fmt: skip
        with open(folder / "agent.toml", "a") as file:
            file.write("\n" + extra)
        return folder

    def start_agent(self, device: str) -> None:
        """With --stop-modules, so that nothing stays behind."""
        config = self.folder / device / "agent.toml"
        words = [sys.executable, "-m", "edge", "agent", "--config", str(config), "--stop-modules"]
        self.start(device, words)

    def start(self, name: str, arguments: list[str], line: str | None = None) -> str:
        """A process; with ``line`` it returns what that says of its output, once it is there."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as sink:
            self.processes[name] = process = subprocess.Popen(
                arguments, cwd=ROOT, env=self.environment(), stdout=sink, stderr=sink,
                start_new_session=True,
            )  # fmt: skip
        if line is None:
            return ""
        found: list[str] = []

        def is_said() -> bool:
            match = re.search(line, log.read_text())
            if match:
                found.append(match.group(1))
            elif process.poll() is not None:
                raise AssertionError(f"{name} ended:\n{log.read_text()}")
            return bool(match)

        self.wait(f"{name} is ready", is_said)
        return found[0]

    def stop(self, name: str, *, check: bool = True) -> None:
        """SIGTERM; a process that does not leave in time is killed, which ``check`` tells."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if check:
            assert code == 0, f"{name} left with {code}:\n{self.log(name)}"

    def kill(self, name: str) -> None:
        """SIGKILL, to this process alone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def log(self, name: str) -> str:
        """What a process said."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def inferry(self, *arguments: str, code: int | None = 0) -> str:
        """Runs a command; its output. ``code``: what it must leave with."""
        done = subprocess.run(
            [str(INFERRY), *arguments], cwd=self.folder, env=self.environment(),
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if code is not None and done.returncode != code:
            raise AssertionError(f"inferry {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What a command answers with ``--output json``."""
        return json.loads(self.inferry(*arguments, "--output", "json"))

    def module(self, device: str, name: str = "digits") -> dict[str, Any]:
        """As the device reported it last; empty: not at all."""
        for module in self.json("edge", "devices", "show", device)["modules"]:
            if module["name"] == name:
                found: dict[str, Any] = module
                return found
        return {}

    def runs(self, device: str, image: str, name: str = "digits") -> bool:
        """Whether it answers with this image, and nothing is under way."""
        module = self.module(device, name)
        return (
            module.get("image") == image
            and module["health"] == "healthy"
            and module["phase"] in ("idle", "failed")
        )

    def score(self, device: str, body: object, name: str = "digits") -> Any:
        """The answer of a device's module to POST /score."""
        port = self.module(device, name)["port"]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as link:
            link.request("POST", "/score", json.dumps(body), {"Content-Type": "application/json"})
            answer = link.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, f"HTTP {answer.status}: {text}"
            return json.loads(text)

    def wait(
        self, what: str, condition: Callable[[], bool], patience_s: float = PATIENCE_S
    ) -> None:
        """Until it is so; says what all processes said when it does not come to pass."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                said = "".join(f"\n--- {n}\n{self.log(n)[-4000:]}" for n in self.processes)
                raise AssertionError(f"it did not come to pass that {what}{said}")
            time.sleep(0.1)

    def environment(self) -> dict[str, str]:
        """Of all that runs."""
        return {**os.environ, "INFERRY_WORKSPACE": str(self.folder / "ws")}


def free_port() -> int:
    """On 127.0.0.1; below those that the kernel gives to connections, which might take it before
    the program that is told to."""
    while True:
        port = random.randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def listens(port: int) -> bool:
    """Whether somebody does, there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
