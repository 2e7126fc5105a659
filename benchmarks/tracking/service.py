"""Metric points a second to a workspace behind a service on the same cores.

    python -m benchmarks.tracking.service [--rounds 3] [--without-peer]

Beside it the same script without a service, and MLflow's stock client with ``mlflow server`` on
SQLite, where scripts/peers has made its virtual environment. Rounds alternate.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.outcome import Finding, Outcome, load, table
from benchmarks.servers import free_port
from benchmarks.tracking import mlflow_server, writers
from benchmarks.tracking.writers import ROOT, Writing, write
from registry import Workspace

COUNT, FLUSHED = 200_000, 500
PEER, PEER_ASYNC, PEER_BATCH = 100, 1_000, 10_000
REACH_RATE, REACH_TIMES = 20_000, 5
READY_S = 60.0
AT_SERVICE = "import os, sys\nos.environ['INFERRY_WORKSPACE'] = sys.argv[2]\n"


@contextmanager
def serving(root: Path, port: int) -> Iterator[str]:
    """``inferry registry serve`` for the block; its URL."""
    program = [sys.executable, "-m", "runtime.cli.main", "registry", "serve"]
    process = subprocess.Popen(
        [*program, "-w", str(root), "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the service did not start")
        time.sleep(0.5)  # it says so just before it listens
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(READY_S)
        if process.stdout is not None:
            process.stdout.close()


def rates(rounds: int, scratch: Path, outcome: Outcome, *, with_peer: bool) -> None:
    """Points a second."""
    workspace = Workspace.init(scratch / ".inferry", base="none")
    peer = mlflow_server.python() if with_peer else None
    own: dict[str, list[float]] = {}
    wrong = 0

    def measure(name: str, writing: Writing, count: int, *, is_counted: bool = True) -> None:
        nonlocal wrong
        own.setdefault(name, []).append(writing.rate)
        print(f"  {name}: {writing.rate:,.0f} points/s", flush=True)
        if is_counted:
            metrics = workspace.tracking.metrics
            wrong += sum(metrics.latest(id)["loss"].count != count for id in writing.runs)

    def inferry(url: str) -> None:
        python = sys.executable
        for name, code, count, several in (
            ("service, 1 writer", writers.INFERRY, COUNT, 1),
            ("service, 8 writers", writers.INFERRY, COUNT // 8, 8),
            ("service, 1 writer, each point acknowledged", writers.INFERRY_FLUSHED, FLUSHED, 1),
        ):
            done = write(AT_SERVICE + code, python, scratch, count, url, writers=several)
            measure(name, done, count)
        measure("no service, 1 writer", write(writers.INFERRY, python, scratch, COUNT), COUNT)

    def mlflow(url: str) -> None:
        assert peer is not None
        for name, code, count, several in (
            ("mlflow server, 1 writer, log_metric", writers.MLFLOW, PEER, 1),
            ("mlflow server, 8 writers, log_metric", writers.MLFLOW, PEER, 8),
            ("mlflow server, 1 writer, asynchronous", writers.MLFLOW_ASYNC, PEER_ASYNC, 1),
            ("mlflow server, 1 writer, log_batch of 1,000", writers.MLFLOW_BATCH, PEER_BATCH, 1),
        ):
            done = write(code, peer, scratch, count, url, writers=several)
            measure(name, done, count, is_counted=False)

    server = nullcontext() if peer is None else mlflow_server.serving(scratch, free_port())
    with serving(workspace.root, free_port()) as url, server as other:
        for _ in range(rounds):
            inferry(url)
            if other is not None:
                mlflow(other.url)
    _report(own, wrong, outcome)


def _report(own: dict[str, list[float]], wrong: int, outcome: Outcome) -> None:
    middle = {name: statistics.median(found) for name, found in own.items()}
    rate = middle["service, 1 writer"]
    outcome.tables.append(
        table(
            ["logging to", "points/s", "lowest", "highest"],
            [
                [name, f"{middle[name]:,.0f}", f"{min(found):,.0f}", f"{max(found):,.0f}"]
                for name, found in own.items()
            ],
        )
    )
    outcome.findings += [
        Finding(
            "metric points a second through a service on the same cores, 1 writer",
            f">= {REACH_RATE:,}",
            f"{rate:,.0f}",
            rate >= REACH_RATE,
        ),
        Finding("runs with too few or too many points", "0", str(wrong), wrong == 0),
    ]
    peers = {name: found for name, found in middle.items() if name.startswith("mlflow server, 1")}
    if peers:
        name, best = max(peers.items(), key=lambda pair: pair[1])
        way = name.removeprefix("mlflow server, 1 writer, ")
        outcome.findings.append(
            Finding(
                f"through a service, of the fastest of mlflow server's ways ({way})",
                f">= {REACH_TIMES} x",
                f"{rate / best:.1f} x",
                rate >= REACH_TIMES * best,
            )
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true")
    asked = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the servers, too
    outcome = Outcome("tracking-service")
    print(f"load average {load():.2f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="inferry-tracking-") as scratch:
        rates(asked.rounds, Path(scratch), outcome, with_peer=not asked.without_peer)
    for finding in outcome.findings:
        verdict = "reached" if finding.reached else "MISSED"
        print(f"{finding.what}: {finding.measured} ({finding.reach}): {verdict}")
    print("\n\n".join(outcome.tables))


if __name__ == "__main__":
    main()
