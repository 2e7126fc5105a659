"""How many requests a second MLflow's stock client gets answered: by Inferry, and by ``mlflow
server`` with SQLite, on the same cores, in turns.

    python -m benchmarks.tracking.mlflow_rates [--rounds 3] [--seconds 5] [--clients 1,4]

The same client, the same script, each server in a process of its own as it starts by default. The
client's own work is in the figures: it is half of Inferry's or more.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import cpu
from benchmarks.outcome import Finding, Outcome, load, table
from benchmarks.servers import free_port
from benchmarks.tracking import mlflow_inferry, mlflow_server

ROOT = Path(__file__).parents[2]
REACH_TIMES = 5.0
KINDS = ("log_metric", "log_batch of 100", "create_run", "get_run", "search_runs")
CLIENT = """
import sys, time
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric
url, kind, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
mlflow.set_tracking_uri(url)
client = MlflowClient()
found = client.get_experiment_by_name("rates")
experiment = found.experiment_id if found else client.create_experiment("rates")
run = client.create_run(experiment, run_name="rates").info.run_id
number = 0
def log_metric():
    client.log_metric(run, "loss", number * 0.5, step=number)
def log_batch():
    base = number * 100
    client.log_batch(run, metrics=[
        Metric("loss", n * 0.5, 1_700_000_000_000 + n, n) for n in range(base, base + 100)])
def create_run():
    client.create_run(experiment, run_name="r")
def get_run():
    client.get_run(run)
def search_runs():
    client.search_runs([experiment], "metrics.loss >= 0", max_results=10)
do = {"log_metric": log_metric, "log_batch of 100": log_batch, "create_run": create_run,
      "get_run": get_run, "search_runs": search_runs}[kind]
log_metric()
do()
print("ready", flush=True)
sys.stdin.readline()
began_s = time.perf_counter()
while time.perf_counter() - began_s < seconds:
    number += 1
    do()
print("took", number, time.perf_counter() - began_s)
"""


def rate(python: Path, url: str, kind: str, seconds: float, clients: int, folder: Path) -> float:
    """Requests a second of several clients together."""
    processes = [
        subprocess.Popen(
            [python, "-c", CLIENT, url, kind, str(seconds)],
            cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "NO_PROXY": "127.0.0.1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(clients)
    ]
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("a client did not begin")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(_rate(process.communicate()[0]) for process in processes)


def _rate(text: str) -> float:
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "took":
            count, seconds = rest.split()
            return int(count) / float(seconds)
    raise RuntimeError("a client failed")


def measure(
    python: Path,
    kinds: Sequence[str],
    rounds: int,
    seconds: float,
    clients: Sequence[int],
    scratch: Path,
) -> Outcome:
    """These kinds, in turns between the two servers."""
    own: dict[tuple[str, int], list[float]] = {}
    peer: dict[tuple[str, int], list[float]] = {}
    own_ms: dict[tuple[str, int], list[float]] = {}
    peer_ms: dict[tuple[str, int], list[float]] = {}
    outcome = Outcome("mlflow-rates")
    with ExitStack() as stack:
        ours = stack.enter_context(mlflow_inferry.serving(scratch, free_port()))
        theirs = stack.enter_context(mlflow_server.serving(scratch, free_port()))
        for _ in range(rounds):
            for kind in kinds:
                for count in clients:
                    for server, kept, used in ((ours, own, own_ms), (theirs, peer, peer_ms)):
                        before_s = cpu.cpu_s(server.pid)
                        measured = rate(python, server.url, kind, seconds, count, scratch)
                        kept.setdefault((kind, count), []).append(measured)
                        # With what the clients ask before they are timed: two or three requests.
                        spent_s = cpu.cpu_s(server.pid) - before_s
                        each_ms = spent_s / (measured * seconds) * 1000
                        used.setdefault((kind, count), []).append(each_ms)
                    print(
                        f"  {kind}, {count} clients: {own[kind, count][-1]:,.0f},"
                        f" MLflow {peer[kind, count][-1]:,.0f}",
                        flush=True,
                    )
    rows = []
    for (kind, count), found in own.items():
        mine, other = statistics.median(found), statistics.median(peer[kind, count])
        spent = [f"{statistics.median(ms[kind, count]):.1f}" for ms in (own_ms, peer_ms)]
        rows.append(
            [kind, str(count), f"{mine:,.0f}", f"{other:,.0f}", f"{mine / other:.1f} x", *spent]
        )
        if kind == "log_metric":
            outcome.findings.append(
                Finding(
                    f"{kind} through the stock client, {count} at once, of mlflow server's rate",
                    f">= {REACH_TIMES:.0f} x",
                    f"{mine / other:.1f} x",
                    mine >= REACH_TIMES * other,
                )
            )
    header = ["requests a second", "clients", "Inferry", "mlflow server", "ratio", "CPU ms", "its"]
    outcome.tables.append(table(header, rows))
    return outcome


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", default="1,4")
    parser.add_argument("--kinds", default=",".join(KINDS))
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the servers, too
    python = mlflow_server.python()
    if python is None:
        sys.exit("make .venv-peers-mlflow first: scripts/peers mlflow")
    print(f"load average {load():.2f}", flush=True)
    clients = [int(count) for count in asked.clients.split(",")]
    with tempfile.TemporaryDirectory(prefix="inferry-mlflow-rates-") as scratch:
        kinds = asked.kinds.split(",")
        outcome = measure(python, kinds, asked.rounds, asked.seconds, clients, Path(scratch))
    for finding in outcome.findings:
        verdict = "reached" if finding.reached else "MISSED"
        print(f"{finding.what}: {finding.measured} ({finding.reach}): {verdict}")
    print("\n\n".join(outcome.tables))


if __name__ == "__main__":
    main()
