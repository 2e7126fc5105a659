"""Two devices on this machine: a model is deployed, scored, updated, and a bad update undone.

``make demo-edge`` runs it. Everything goes through the command ``inferry``, printed as it runs; the
devices are agents (``python3 -m edge agent``) whose modules run as processes, so that no Docker is
needed. DEMO_KEEP=1 keeps all of it running at the end, until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEMO = ROOT / ".demo" / "edge"
INFERRY = Path(sys.executable).with_name("inferry")
DEVICES = ("press-1", "press-2")
PATIENCE_S = 60.0
STOP_S = 20.0


def main() -> int:
    """The whole demo; returns the exit code."""
    began = time.monotonic()
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir(parents=True)
    with contextlib.ExitStack() as running:
        say("1. A workspace with a model of handwritten digits, packaged as an image")
        make_image()
        say("2. The registry that devices pull from, and the hub with a broker inside")
        registry = running.enter_context(
            serving("registry", ["registry", "serve", "--port", "0"], r"ready at (http://\S+)")
        )
        broker = running.enter_context(
            serving("hub", ["edge", "hub", "--embedded-broker"], r"Broker on (\S+)")
        )
        say("3. Two devices: certificates, a token, and an agent each")
        for device in DEVICES:
            enroll(device, registry, broker)
            running.enter_context(agent(device))
        wait("both devices are there", lambda: all(show(d)["online"] for d in DEVICES))
        say("4. A deployment for all devices of the line")
        inferry("edge", "deploy", "sorters", "--module", "digits=digits:1", "--host", "process",
                "--target", 'line == "3"', "--watch-s", "2")  # fmt: skip
        wait("both devices run it", lambda: all(runs(d, "digits:1") for d in DEVICES))
        inferry("edge", "devices")
        say("5. Score a digit on each device")
        score_all()
        say("6. What the hub heard of them")
        wait("telemetry of a device came", lambda: bool(telemetry()))
        inferry("edge", "telemetry", DEVICES[0], "--limit", "3")
        say("7. A new version of the model, one device first, then the other")
        inferry("model", "register", ".demo/edge/model.onnx", "--name", "digits")
        create_image(".demo/edge/golden.json")
        rollout("digits:2", expected="completed")
        score_all()
        say("8. A bad version: its answers are not numbers. The first device refuses it, and"
            " the second never sees it")  # fmt: skip
        shutil.copy(HERE / "broken.py", DEMO / "score.py")
        create_image(".demo/edge/golden.json", script=".demo/edge/score.py")
        rollout("digits:3", expected="rolled back")
        wait("both run what is good", lambda: all(runs(d, "digits:2") for d in DEVICES))
        score_all()
        inferry("edge", "telemetry", "--kind", "refused")
        inferry("edge", "devices")
        if os.environ.get("DEMO_KEEP") == "1":
            keep()
        say("9. Stop")
    left = processes()
    print(f"stopped cleanly, no process left; all of it took {time.monotonic() - began:.0f} s")
    return 1 if left else 0


def make_image() -> None:
    """The workspace, the model, its golden inputs, and the image digits:1."""
    command([sys.executable, str(ROOT / "examples/digits/train.py"), str(DEMO)])
    # No base: a bundle, which a device runs as a process; a container would have to pull one.
    inferry("init", ".demo/edge/workspace", "--base", "none")
    inferry("model", "register", ".demo/edge/model.onnx", "--name", "digits")
    held_out = json.loads((DEMO / "held_out.json").read_text())
    cases = [
        {"input": {"data": [pixels]}, "output": {"predictions": [label]}}
        for pixels, label in zip(held_out["pixels"], held_out["labels"], strict=True)
    ]
    golden = {"v": 1, "cases": [{"input": case["input"]} for case in cases[:5]]}
    (DEMO / "golden.json").write_text(json.dumps(golden))
    create_image(".demo/edge/golden.json")


def create_image(golden: str, *, script: str = "examples/digits/score.py") -> None:
    """The next version of the image; the demo says what it does, so no proof is needed."""
    inferry("image", "create", "digits", "--model", "digits", "--script", script,
            "--golden", golden, "--no-proof")  # fmt: skip


def enroll(device: str, registry: str, broker: str) -> None:
    """All that a device needs, in a folder of its own."""
    inferry("edge", "enroll", device, "--tag", "line=3", "--out", f".demo/edge/{device}",
            "--state", "state", "--broker", broker, "--registry", registry)  # fmt: skip


def rollout(image: str, *, expected: str) -> None:
    """Starts it and follows it to its end."""
    words = ["edge", "rollout", "start", "sorters", "digits", image, "--batch", "1",
             "--batch", "100%", "--watch"]  # fmt: skip
    print(f"$ inferry {shlex.join(words)}", flush=True)
    subprocess.run([str(INFERRY), *words], cwd=ROOT, env=environment(), check=False)
    last = ask("edge", "rollout", "list")[-1]
    if last["state"] != expected:
        sys.exit(f"demo: the rollout is {last['state']}, not {expected}: {last['reason']}")


def score_all() -> None:
    """One digit through POST /score of each device."""
    held_out = json.loads((DEMO / "held_out.json").read_text())
    for device in DEVICES:
        module = show(device)["modules"][0]
        connection = http.client.HTTPConnection("127.0.0.1", module["port"], timeout=10)
        with contextlib.closing(connection):
            body = json.dumps({"data": held_out["pixels"][:1]})
            connection.request("POST", "/score", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read().decode()
        print(f"{device}, {module['image']}: HTTP {response.status} {answer}", flush=True)
        if response.status != 200 or json.loads(answer)["predictions"] != held_out["labels"][:1]:
            sys.exit(f"demo: {device} answers wrongly: {answer}")


def telemetry() -> list[Any]:
    """What came of the first device."""
    found: list[Any] = ask("edge", "telemetry", DEVICES[0], "--limit", "3")
    return found


def show(device: str) -> dict[str, Any]:
    """A device as the hub knows it."""
    found: dict[str, Any] = ask("edge", "devices", "show", device)
    return found


def runs(device: str, image: str) -> bool:
    """Whether the device answers with this image, and has nothing else to do."""
    modules = show(device)["modules"]
    return any(
        m["image"] == image and m["health"] == "healthy" and m["port"] for m in modules
    ) and all(m["phase"] in ("idle", "failed") for m in modules)


def wait(what: str, condition: Callable[[], bool]) -> None:
    """Until it is so."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_S:
            logs = "".join(f"\n--- {p.name}\n{p.read_text()[-3000:]}" for p in DEMO.glob("*.log"))
            sys.exit(f"demo: it did not come to pass that {what}{logs}")
        time.sleep(0.2)
    print(f"({what}, after {time.monotonic() - began:.1f} s)", flush=True)


def say(text: str) -> None:
    """A heading."""
    print(f"\n{text}", flush=True)


def inferry(*arguments: str) -> None:
    """Prints and runs one inferry command."""
    print(f"$ inferry {shlex.join(arguments)}", flush=True)
    command([str(INFERRY), *arguments])


def ask(*arguments: str) -> Any:
    """What an inferry command answers as JSON; not printed."""
    done = subprocess.run(
        [str(INFERRY), *arguments, "--output", "json"],
        cwd=ROOT, env=environment(), check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"demo: this command failed: {shlex.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def command(arguments: list[str]) -> None:
    """Runs a command in the repository; the demo ends where one fails."""
    if subprocess.run(arguments, cwd=ROOT, env=environment(), check=False).returncode:
        sys.exit(f"demo: this command failed: {shlex.join(arguments)}")


def environment() -> dict[str, str]:
    """The demo has its own workspace."""
    return {**os.environ, "INFERRY_WORKSPACE": str(DEMO / "workspace")}


@contextlib.contextmanager
def serving(name: str, arguments: list[str], line: str) -> Iterator[str]:
    """``inferry ...`` while the block runs; what the line says that shows that it is ready."""
    print(f"$ inferry {shlex.join(arguments)} &", flush=True)
    with background(name, [str(INFERRY), *arguments]) as (process, log):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and process.poll() is None:
            found = re.search(line, log.read_text())
            if found:
                print(found.group(0), flush=True)
                yield found.group(1)
                return
            time.sleep(0.05)
        sys.exit(f"demo: the {name} did not get ready; it said:\n{log.read_text()}")


@contextlib.contextmanager
def agent(device: str) -> Iterator[None]:
    """The agent of a device, which takes its modules along at the end."""
    config = f".demo/edge/{device}/agent.toml"
    words = ["-m", "edge", "agent", "--config", config, "--stop-modules"]
    print(f"$ python3 {shlex.join(words)} &", flush=True)
    with background(device, [sys.executable, *words]):
        yield


@contextlib.contextmanager
def background(name: str, arguments: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process while the block runs, then SIGTERM, and proof that it left in good order."""
    log = DEMO / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment(), stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        yield process, log
        process.send_signal(signal.SIGTERM)
        if process.wait(timeout=STOP_S) != 0:
            sys.exit(f"demo: {name} left with {process.returncode}:\n{log.read_text()[-3000:]}")
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def processes() -> list[int]:
    """Ends what the demo started and is still there (from /proc); there should be nothing."""
    mark = str(DEMO).encode()  # modules have their bundle in their command line
    left = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes() and int(path.parent.name) != os.getpid():
                left.append(int(path.parent.name))
                os.kill(left[-1], signal.SIGKILL)
    if left:
        print(f"demo: these processes were left, and are killed: {left}", file=sys.stderr)
    return left


def keep() -> None:
    """Waits for Ctrl-C or SIGTERM."""
    print("\nAll of it keeps running (DEMO_KEEP=1). Try:\n")
    print(f"INFERRY_WORKSPACE={DEMO / 'workspace'} {INFERRY} edge check {DEVICES[0]}")
    print("\nCtrl-C stops it.", flush=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        processes()
