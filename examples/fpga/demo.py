"""A model on an FPGA board that is not there: compiled, simulated, packaged, served, scored.

``make demo-fpga`` runs it. Everything goes through the command ``inferry``, printed as it runs. The
board is the engine's own Verilog in Verilator where that is installed (with pynq in front of it,
as on a real board, where scripts/pynq has made .venv-pynq), and else an emulator in numpy.
DEMO_KEEP=1 keeps the server running at the end, until Ctrl-C.
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
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEMO = ROOT / ".demo" / "fpga"
INFERRY = Path(sys.executable).with_name("inferry")
PYNQ = ROOT / ".venv-pynq" / "bin" / "python"
READY_S = 900.0
"""Verilator builds a board at its first use."""
STOP_S = 20.0
REQUIRED_ACCURACY = 0.9


def main() -> int:
    """The whole demo; returns the exit code."""
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir(parents=True)
    has_verilator = all(shutil.which(tool) for tool in ("verilator", "g++", "make"))
    say("1. Train a network on handwritten digits and export it to ONNX")
    command([sys.executable, str(HERE / "train.py"), str(DEMO)])
    say("2. Compile it to int8 for an FPGA, and package it")
    inferry("init", ".demo/fpga/workspace", "--base", "none")
    inferry("model", "register", ".demo/fpga/digits.onnx", "--name", "digits")
    inferry("image", "create", "digits-fpga", "--model", "digits", "--kind", "fpga",
            "--lanes", "8", "--calibration", ".demo/fpga/calibration.npz",
            "--held-out", ".demo/fpga/held_out.npz",
            "--golden", ".demo/fpga/golden.json")  # fmt: skip
    inferry("image", "verify", "digits-fpga")
    say("3. What it costs, layer by layer")
    inferry("fpga", "report", "digits-fpga")
    say("4. Run it" + (" in the engine's Verilog, clock for clock" if has_verilator else ""))
    inferry("fpga", "simulate", "digits-fpga", "--input", ".demo/fpga/request.json",
            "--engine", "rtl" if has_verilator else "emulator")  # fmt: skip
    board = "simulated" if has_verilator and PYNQ.exists() else "emulated"
    say(f"5. Serve it from a board, which is {board} here, and score digits")
    with serving("digits-fpga", board) as port:
        accuracy = score(port)
        if os.environ.get("DEMO_KEEP") == "1":
            print(f"POST http://127.0.0.1:{port}/score; end with Ctrl-C")
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    print("stopped cleanly")
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


def environment(**more: str) -> dict[str, str]:
    """The demo has its own workspace."""
    return {**os.environ, "INFERRY_WORKSPACE": str(DEMO / "workspace"), **more}


@contextlib.contextmanager
def serving(what: str, board: str) -> Iterator[int]:
    """``inferry serve`` while the block runs; its port."""
    variables = {"INFERRY_FPGA_BOARD": board}
    if board == "simulated":
        variables["INFERRY_FPGA_PYTHON"] = str(PYNQ)
    shown = " ".join(f"{name}={Path(value).name}" for name, value in variables.items())
    print(f"$ {shown} inferry serve {what} --port 0", flush=True)
    log = DEMO / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [INFERRY, "serve", what, "--port", "0"],
            cwd=ROOT,
            env=environment(**variables),
            stdout=sink,
            stderr=sink,
        )
    try:
        yield wait_until_ready(process, log)
        process.send_signal(signal.SIGTERM)
        if process.wait(STOP_S):
            sys.exit(f"demo: exit code {process.returncode}; it said:\n{log.read_text()}")
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that the server says it listens on, once it does."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"^Listening on http://[^\s]*:(\d+)$", log.read_text(), re.MULTILINE)
        if found:
            print(found.group(0))
            return int(found.group(1))
        time.sleep(0.05)
    sys.exit(f"demo: the server did not get ready; it said:\n{log.read_text()}")


def score(port: int) -> float:
    """All digits of request.json in one request; prints and returns the accuracy."""
    labels = json.loads((DEMO / "labels.json").read_text())
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = (DEMO / "request.json").read_bytes()
    began = time.perf_counter()
    link.request("POST", "/score", body, {"Content-Type": "application/json"})
    response = link.getresponse()
    answer = response.read()
    passed_ms = (time.perf_counter() - began) * 1000
    link.close()
    if response.status != 200:
        sys.exit(f"demo: HTTP {response.status}: {answer.decode()}")
    rows = json.loads(answer)["logits"]
    said = [row.index(max(row)) for row in rows]
    accuracy = sum(a == b for a, b in zip(said, labels, strict=True)) / len(labels)
    print(f"said {said[:12]} ...\nare  {labels[:12]} ...")
    print(f"accuracy {accuracy:.3f} on {len(labels)} digits, one request of {passed_ms:.0f} ms")
    return accuracy


if __name__ == "__main__":
    sys.exit(main())
