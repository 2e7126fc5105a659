"""What POST /score costs: the digits model served three ways, measured in turns on one machine.

    make bench                     # rounds of 5 s each; writes benchmarks/RESULTS.md
    make bench ARGS="--seconds 2"

The contestants run one at a time with one worker each and score the same request:

    inferry, model      inferry serve model.onnx
    inferry, score.py   azmlinfsrv of Inferry with examples/digits/score.py
    reference           azmlinfsrv of azureml-inference-server-http with the same score.py

wrk (from scripts/system-packages --bench) drives them and shares the cores with the server, so the
rate is a lower bound; the CPU time per request is that of the server alone.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
REFERENCE = ROOT / ".venv-azure/bin/azmlinfsrv"
SCRIPT = ROOT / "examples/digits/score.py"
RESULTS = ROOT / "benchmarks/RESULTS.md"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
READY_TIMEOUT_S = 60.0
HELP_RUNS = 10
SLEEPER = """
import json, time
def init(): pass
def run(raw): time.sleep(json.loads(raw).get("sleep", 0))
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server to measure: its name, and the command that serves a folder on a port."""

    name: str
    command: Callable[[Path, int], list[str]]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contestant."""

    ready_s: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float


def main() -> int:
    """Measures, prints and writes the table."""
    asked = _parse()
    if shutil.which("wrk") is None:
        print("bench: needs wrk; as root: scripts/system-packages --bench", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run([sys.executable, ROOT / "examples/digits/train.py", folder], check=True)
        wrk_script = _wrk_script(folder)
        entrants = contestants(folder)
        samples: dict[str, list[Sample]] = {entrant.name: [] for entrant in entrants}
        for number in range(asked.rounds):
            for entrant in entrants:
                sample = measure(entrant, folder, wrk_script, asked)
                print(f"round {number + 1}, {entrant.name}: {sample}", flush=True)
                samples[entrant.name].append(sample)
        health = {entrant.name: health_ms(entrant, folder) for entrant in sleepers(folder)}
    table = report(samples, asked, help_ms(), health)
    print("\n" + table)
    RESULTS.write_text(table)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=8)
    return parser.parse_args()


def contestants(folder: Path) -> list[Contestant]:
    """Ours, and the reference where scripts/azure-reference has installed it."""
    entry = ["--entry_script", str(SCRIPT), "--worker_count", "1"]

    def model(where: Path, port: int) -> list[str]:
        return [str(BIN / "inferry"), "serve", f"{where}/model.onnx", "--port", str(port)]

    def script(where: Path, port: int) -> list[str]:
        return [str(BIN / "azmlinfsrv"), *entry, "--model_dir", str(where), "--port", str(port)]

    def reference(where: Path, port: int) -> list[str]:
        return [str(REFERENCE), *entry, "--model_dir", str(where), "--port", str(port)]

    found = [Contestant("inferry, model", model, {}), Contestant("inferry, score.py", script, {})]
    if REFERENCE.exists():
        found.append(Contestant("reference", reference, {"PYTHONPATH": str(_lend_engine(folder))}))
    return found


def sleepers(folder: Path) -> list[Contestant]:
    """Both servers of score.py files, with one whose run() sleeps when asked to."""
    script = folder / "sleeper.py"
    script.write_text(SLEEPER)

    def serve(command: Path) -> Callable[[Path, int], list[str]]:
        return lambda _, port: [str(command), "--entry_script", str(script), "--port", str(port)]

    ours, reference = BIN / "azmlinfsrv", REFERENCE
    named = [("inferry", ours), ("reference", reference)]
    return [Contestant(name, serve(command), {}) for name, command in named if command.exists()]


def _lend_engine(folder: Path) -> Path:
    """The reference's environment has no onnxruntime: it borrows ours, so both run the same."""
    lent = folder / "lent"
    lent.mkdir()
    packages = Path(sys.executable).parents[1] / "lib" / f"python{platform.python_version()[:4]}"
    for name in ("onnxruntime", "flatbuffers", "google"):
        (lent / name).symlink_to((packages / "site-packages" / name).resolve())
    return lent


def measure(
    entrant: Contestant, folder: Path, wrk_script: Path, asked: argparse.Namespace
) -> Sample:
    """One round: start, wait until it scores, warm up, drive, stop."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}/score"
    with _running(entrant, folder, port) as process:
        ready_s = _wait_until_it_scores(process, url, folder)
        _drive(url, wrk_script, 1, asked.connections)
        before_s = cpu_s(process.pid)
        output = _drive(url, wrk_script, asked.seconds, asked.connections)
        used_s = cpu_s(process.pid) - before_s
    requests = int(_find(r"(\d+) requests in", output))
    if "Non-2xx" in output or requests == 0:
        raise SystemExit(f"bench: {entrant.name} answered with errors:\n{output}")
    return Sample(
        ready_s,
        float(_find(r"Requests/sec:\s+([\d.]+)", output)),
        _ms(_find(r"\n\s+50%\s+(\S+)", output)),
        _ms(_find(r"\n\s+99%\s+(\S+)", output)),
        used_s / requests * 1e6,
    )


@contextlib.contextmanager
def _running(entrant: Contestant, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **entrant.environment}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            entrant.command(folder, port),
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait_until_it_scores(process: subprocess.Popen[bytes], url: str, folder: Path) -> float:
    began_s = time.monotonic()
    body = _body(folder)
    while time.monotonic() - began_s < READY_TIMEOUT_S and process.poll() is None:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as response:
            response.read()
            return time.monotonic() - began_s
        time.sleep(0.01)
    raise SystemExit(f"bench: no answer:\n{(folder / 'server.log').read_text()}")


def _body(folder: Path) -> bytes:
    pixels = json.loads((folder / "held_out.json").read_text())["pixels"]
    return json.dumps({"data": pixels[:1]}).encode()


def _wrk_script(folder: Path) -> Path:
    path = folder / "post.lua"
    path.write_text(
        'wrk.method = "POST"\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [==[{_body(folder).decode()}]==]\n"
    )
    return path


def _drive(url: str, wrk_script: Path, seconds: int, connections: int) -> str:
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(wrk_script),
    ]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    return done.stdout


def cpu_s(root: int) -> float:
    """CPU seconds that a process and all below it have used, their reaped children's too. Found by
    parent, not by session: our workers lead sessions of their own."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid] = int(fields[1])
            ticks[pid] = sum(int(field) for field in fields[11:15])

    def is_below(pid: int) -> bool:
        while pid not in (root, 0, 1):
            pid = parents.get(pid, 0)
        return pid == root

    return sum(used for pid, used in ticks.items() if is_below(pid)) / TICKS_PER_S


def health_ms(entrant: Contestant, folder: Path) -> tuple[float, float]:
    """Median and slowest of ``GET /``, asked for 3 s while run() sleeps for those 3 s."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with _running(entrant, folder, port) as process:
        _wait_until_it_scores(process, f"{url}/score", folder)
        sleeping = threading.Thread(target=_post, args=(f"{url}/score", b'{"sleep": 3}'))
        sleeping.start()
        time.sleep(0.2)  # until run() has it
        times = []
        while sleeping.is_alive():
            began_s = time.perf_counter()
            with urllib.request.urlopen(f"{url}/", timeout=10) as response:
                response.read()
            times.append((time.perf_counter() - began_s) * 1000)
            time.sleep(0.01)
        sleeping.join()
    return statistics.median(times), max(times)


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()


def help_ms() -> float:
    """Median wall time of ``inferry --help``."""
    times = []
    for _ in range(HELP_RUNS):
        began_s = time.perf_counter()
        subprocess.run([BIN / "inferry", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(times)


def report(
    samples: dict[str, list[Sample]],
    asked: argparse.Namespace,
    help_time_ms: float,
    health: dict[str, tuple[float, float]],
) -> str:
    """The page: how it was measured, and the medians."""
    rows = []
    for name, rounds in samples.items():
        medians = [
            statistics.median(getattr(sample, field) for sample in rounds)
            for field in ("requests_per_s", "p50_ms", "p99_ms", "cpu_us_per_request", "ready_s")
        ]
        rows.append("| {} | {:,.0f} | {:.2f} | {:.2f} | {:.0f} | {:.2f} |".format(name, *medians))
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return "\n".join(
        [
            "# Results",
            "",
            f"`make bench` on {today}: {_machine()}. Medians of {asked.rounds} rounds in turns, "
            f"{asked.seconds} s each, {asked.connections} connections by wrk on the same cores; "
            "one digit (64 numbers) a request; one worker each. CPU is that of the server's "
            "processes; ready is from start to the first answer.",
            "",
            "| | requests/s | p50 ms | p99 ms | CPU us/request | ready s |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"`inferry --help`: {help_time_ms:.0f} ms (median of {HELP_RUNS}).",
            "",
            "`GET /` while the one worker's `run()` sleeps for 3 s:",
            "",
            "| | median ms | slowest ms |",
            "|---|---|---|",
            *(f"| {name} | {median:.1f} | {most:.1f} |" for name, (median, most) in health.items()),
            "",
        ]
    )


def _machine() -> str:
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    name = model[1] if model else platform.machine()
    return f"{cores} cores of {name}, Python {platform.python_version()}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"bench: no '{pattern}' in what wrk said:\n{text}")
    return found[1]


def _ms(text: str) -> float:
    number, unit = float(re.sub("[a-z]", "", text)), re.sub("[0-9.]", "", text)
    return number * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


if __name__ == "__main__":
    sys.exit(main())
