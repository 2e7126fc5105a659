"""CPU of MLflow's lists at full size: 100,000 runs with 1,000,000 points, a logged model for each
run, and one more series of 100,000 points. Inferry, and beside it ``mlflow server`` on SQLite.

    python -m benchmarks.tracking.mlflow_lists [--runs 100000] [--repeats 15] [--without-peer]

Each is asked over HTTP by one client that keeps its connection, as MLflow's own do; the CPU is
that of the server's processes. An answer that takes more than GIVEN_UP_S is asked for once. The
peer has the runs and their points, not the logged models.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks import cpu
from benchmarks.outcome import load, table
from benchmarks.servers import free_port
from benchmarks.tracking import filled, mlflow_inferry, mlflow_server

SERIES = 100_000
GIVEN_UP_S, ASK_S = 10.0, 240.0
EXPERIMENTS = [str(number) for number in range(1, 11)]
OF_METRIC = [{"field_name": "metrics.f1", "ascending": False}]
LISTS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("the newest 50", "runs/search", {}),
    ("by accuracy", "runs/search", {"order_by": ["metrics.accuracy DESC"]}),
    ("by a param, then by loss", "runs/search", {"order_by": ["params.lr", "metrics.loss"]}),
    (
        "by accuracy, then by loss",
        "runs/search",
        {"order_by": ["metrics.accuracy DESC", "metrics.loss"]},
    ),
    ("a series of 100,000 points", "metrics/get-history", {"metric_key": "series"}),
    (
        "25,000 points of it",
        "metrics/get-history",
        {"metric_key": "series", "max_results": 25_000},
    ),
    ("logged models, the newest", "logged-models/search", {}),
    ("logged models by a metric", "logged-models/search", {"order_by": OF_METRIC}),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request: medians in milliseconds, and how many were asked."""

    wall_ms: float
    cpu_ms: float
    times: int


def ask(http: HTTPConnection, path: str, body: Mapping[str, object]) -> int:
    """The answer's size."""
    at = f"/api/2.0/mlflow/{path}"
    if path == "metrics/get-history":
        http.request("GET", f"{at}?{urlencode(body)}")
    else:
        http.request("POST", at, json.dumps(body), {"Content-Type": "application/json"})
    answer = http.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {data[:200]!r}")
    return len(data)


def costs(url: str, pid: int, run: str, names: Sequence[str], repeats: int) -> dict[str, Cost]:
    """What each list costs the server with this process and its children."""
    host = urlsplit(url).netloc
    found: dict[str, Cost] = {}
    for name, path, asked in LISTS:
        if name not in names:
            continue
        is_series = path == "metrics/get-history"
        more = {"run_id": run} if is_series else {"experiment_ids": EXPERIMENTS, "max_results": 50}
        body = {**more, **asked}
        with closing(HTTPConnection(host, timeout=ASK_S)) as http:
            began_s = time.perf_counter()
            try:
                ask(http, path, body)  # what the first one alone pays
            except TimeoutError:
                print(f"  {url} {name}: no answer in {ASK_S:.0f} s", flush=True)
                return found  # it still works at it: what came next would be measured with it
            few = time.perf_counter() - began_s > GIVEN_UP_S
            walls, before_s = [], cpu.cpu_s(pid)
            for _ in range(1 if few else repeats):
                began_s = time.perf_counter()
                ask(http, path, body)
                walls.append((time.perf_counter() - began_s) * 1000)
            used_ms = (cpu.cpu_s(pid) - before_s) * 1000 / len(walls)
        found[name] = Cost(statistics.median(walls), used_ms, len(walls))
        print(f"  {url} {name}: {found[name]}", flush=True)
    return found


def fill(root: Path, runs: int) -> str:
    """A workspace; the id of the run with the long series."""
    tracking = filled.fill(root, runs)
    run = tracking.runs.create("exp1").id
    for start in range(0, SERIES, 10_000):
        points = [("series", n / 7, n, n) for n in range(start, start + 10_000)]
        tracking.runs.log(run, points=points)
    with closing(sqlite3.connect(root / "workspace.db")) as connection, connection:
        connection.execute(
            "INSERT INTO logged_models (id, run, name, type, status, created_ms, updated_ms)"
            " SELECT 'm-' || id, key, 'model', '', 'ready', started_ms, started_ms FROM runs"
        )
        connection.execute(
            "INSERT INTO logged_model_metrics SELECT m.key, 'f1', o.value, o.step, o.at_ms"
            " FROM logged_models m JOIN run_metrics o ON o.run = m.run AND o.key = 'accuracy'"
        )
    return run


def fill_peer(database: Path, runs: int) -> str:
    """The same runs and series for MLflow's server."""
    mlflow_server.fill(database, runs)
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        run = str(connection.execute("SELECT run_uuid FROM runs LIMIT 1").fetchone()[0])
        connection.executemany(
            "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
            " VALUES ('series', ?, ?, ?, ?, 0)",
            [(n / 7, n, run, n) for n in range(SERIES)],
        )
    return run


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=filled.RUNS)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--without-peer", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the servers, too
    print(f"load average {load():.2f}", flush=True)
    names = [name for name, _, _ in LISTS]
    peer: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory(prefix="inferry-mlflow-lists-") as scratch:
        folder = Path(scratch)
        run = fill(folder / "ws", asked.runs)
        with mlflow_inferry.serving(folder, free_port()) as server:
            own = costs(server.url, server.pid, run, names, asked.repeats)
        if not asked.without_peer and mlflow_server.python() is not None:
            with mlflow_server.serving(folder, free_port()) as other:
                run = fill_peer(other.database, asked.runs)
                # By a metric last: what MLflow takes for it is minutes.
                order = [names[0], names[4], names[5], names[1]]
                for name in order:
                    peer |= costs(other.url, other.pid, run, [name], 3)
                    if name not in peer:
                        break
    rows = []
    for name, cost in own.items():
        beside = peer.get(name)
        theirs = (
            ["-", "-"] if beside is None else [f"{beside.wall_ms:,.0f}", f"{beside.cpu_ms:,.0f}"]
        )
        rows.append([name, f"{cost.wall_ms:.1f}", f"{cost.cpu_ms:.1f}", *theirs])
    header = ["list", "Inferry ms", "CPU ms", "mlflow server ms", "CPU ms"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
