"""The main job on real input: train, register, package, serve, score, stop. ``make demo`` runs it.

Everything goes through the command ``inferry``, printed as it runs, so that you can repeat it by
hand. DEMO_KEEP=1 keeps the server running at the end, until Ctrl-C.
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
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEMO = ROOT / ".demo"
INFERRY = Path(sys.executable).with_name("inferry")
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
REQUIRED_ACCURACY = 0.95
SHOWN = 5
SHADES = " .:-=+*#%@"


@dataclass(frozen=True, slots=True)
class Scored:
    """One held-out digit, and what the server said of it."""

    pixels: list[int]
    truth: int
    prediction: int
    latency_ms: float


def main() -> int:
    """The whole demo; returns the exit code."""
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    say("1. Train a classifier of handwritten digits and export it to ONNX")
    command([sys.executable, str(HERE / "train.py"), str(DEMO)])
    say("2. Register it, and package it with its scoring script")
    # No base: a bundle, which inferry serve runs; a container would have to pull one (README).
    inferry("init", ".demo/workspace", "--base", "none")
    inferry("model", "register", ".demo/model.onnx", "--name", "digits", "--tag", "stage=demo",
            "--property", "trained_on=sklearn.load_digits")  # fmt: skip
    inferry("image", "create", "digits-service", "--model", "digits",
            "--script", "examples/digits/score.py")  # fmt: skip
    say("3. Serve the image")
    with serving("digits-service") as port:
        say("4. Score digits that training never saw, one request each")
        scored = score_all(port)
        accuracy = report(scored)
        if os.environ.get("DEMO_KEEP") == "1":
            keep(port, scored[0])
        say("5. Stop")
    print("stopped cleanly: exit code 0, no process left")
    if accuracy < REQUIRED_ACCURACY:
        print(f"accuracy {accuracy:.3f} is below {REQUIRED_ACCURACY}", file=sys.stderr)
        return 1
    return 0


def say(text: str) -> None:
    """A heading."""
    print(f"\n{text}", flush=True)


def inferry(*arguments: str) -> None:
    """Prints and runs one inferry command."""
    print(f"$ inferry {shlex.join(arguments)}", flush=True)
    command([str(INFERRY), *arguments])


def command(arguments: list[str]) -> None:
    """Runs a command in the repository; the demo ends where one fails."""
    if subprocess.run(arguments, cwd=ROOT, env=environment(), check=False).returncode:
        sys.exit(f"demo: this command failed: {shlex.join(arguments)}")


def environment() -> dict[str, str]:
    """The demo has its own workspace."""
    return {**os.environ, "INFERRY_WORKSPACE": str(DEMO / "workspace")}


@contextlib.contextmanager
def serving(what: str) -> Iterator[int]:
    """``inferry serve`` while the block runs; its port. Then SIGTERM, and proof that it is gone."""
    print(f"$ inferry serve {what} --port 0", flush=True)
    log = DEMO / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [INFERRY, "serve", what, "--port", "0"],
            cwd=ROOT,
            env=environment(),
            stdout=sink,
            stderr=sink,
            start_new_session=True,  # its session id finds the processes it starts
        )
    try:
        yield wait_until_ready(process, log)
        process.send_signal(signal.SIGTERM)
        check_gone(process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the server says it listens on, once it does."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"^Listening on http://[^\s]*:(\d+)$", log.read_text(), re.MULTILINE)
        if found:
            print(found.group(0))
            return int(found.group(1))
        time.sleep(0.05)
    sys.exit(f"demo: the server did not get ready; it said:\n{log.read_text()}")


def check_gone(process: subprocess.Popen[bytes], log: Path) -> None:
    """Fails unless the server left with code 0 and took its workers along."""
    code = process.wait(timeout=STOP_TIMEOUT_S)
    left = [pid for pid in session_members(process.pid) if pid != process.pid]
    if code != 0 or left:
        sys.exit(f"demo: exit code {code}, processes left {left}; it said:\n{log.read_text()}")


def session_members(session: int) -> list[int]:
    """The living processes of a session (from /proc)."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                members.append(int(stat.parent.name))
    return members


def score_all(port: int) -> list[Scored]:
    """Each held-out digit through POST /score, over one connection."""
    held_out = json.loads((DEMO / "held_out.json").read_text())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    scored = []
    for pixels, truth in zip(held_out["pixels"], held_out["labels"], strict=True):
        body = json.dumps({"data": [pixels]})
        began = time.perf_counter()
        connection.request("POST", "/score", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        latency_ms = (time.perf_counter() - began) * 1000
        if response.status != 200:
            sys.exit(f"demo: HTTP {response.status}: {answer.decode()}")
        scored.append(Scored(pixels, truth, json.loads(answer)["predictions"][0], latency_ms))
    connection.close()
    return scored


def report(scored: list[Scored]) -> float:
    """Prints some digits, the accuracy and the latency; returns the accuracy."""
    wrong = [s for s in scored if s.prediction != s.truth]
    show_digits(scored[:SHOWN])
    if wrong:
        print(f"\nand {len(wrong)} that it gets wrong, such as")
        show_digits(wrong[:SHOWN])
    accuracy = 1 - len(wrong) / len(scored)
    cuts = statistics.quantiles((s.latency_ms for s in scored), n=100)
    print(f"\naccuracy {accuracy:.3f} on {len(scored)} digits, latency p50 {cuts[49]:.2f} ms, "
          f"p99 {cuts[98]:.2f} ms")  # fmt: skip
    return accuracy


def show_digits(scored: list[Scored]) -> None:
    """The digits as ASCII art side by side, predictions beside the truth."""
    print()
    for row in range(8):
        print("   ".join(art_row(s.pixels, row) for s in scored))
    print("   ".join(f"said {s.prediction}, is {s.truth}".ljust(16) for s in scored))


def art_row(pixels: list[int], row: int) -> str:
    """One row of an 8 x 8 digit, two characters a pixel."""
    shades = (SHADES[p * (len(SHADES) - 1) // 16] for p in pixels[row * 8 : row * 8 + 8])
    return "".join(shade * 2 for shade in shades)


def keep(port: int, example: Scored) -> None:
    """Waits for Ctrl-C or SIGTERM, with a request to copy."""
    body = json.dumps({"data": [example.pixels]}, separators=(",", ":"))
    print("\nThe server keeps running (DEMO_KEEP=1). Try:\n")
    print(f"curl -H 'Content-Type: application/json' -d '{body}' http://127.0.0.1:{port}/score")
    print("\nCtrl-C stops it.", flush=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    sys.exit(main())
