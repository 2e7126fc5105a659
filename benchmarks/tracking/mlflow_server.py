"""``mlflow server`` with SQLite, as it starts by default, from scripts/peers; and its database
filled as a workspace is, since its own API would take a day for that."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tracking.filled import POINTS, STARTED_MS, Made, made_runs

ROOT = Path(__file__).parents[2]
READY_S = 240.0


def python() -> Path | None:
    """Of the virtual environment with MLflow, if there is one."""
    found = ROOT / ".venv-peers-mlflow/bin/python"
    return found if found.exists() else None


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers."""

    url: str
    database: Path
    pid: int


@contextmanager
def serving(folder: Path, port: int) -> Iterator[Server]:
    """For the block."""
    database = folder / "mlflow.db"
    program = ROOT / ".venv-peers-mlflow/bin/mlflow"
    process = subprocess.Popen(
        [
            *(program, "server", "--backend-store-uri", f"sqlite:///{database}"),
            *("--artifacts-destination", folder / "artifacts"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        cwd=folder,
        env={
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{program.parent}:/usr/bin:/bin",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield Server(url, database, process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
        shutil.rmtree(folder / "artifacts", ignore_errors=True)


def fill(database: Path, runs: int) -> None:
    """The same runs as ``filled.fill`` makes, in experiments with the ids 1 to 10."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        for number in range(1, 11):
            connection.execute(
                "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage,"
                " creation_time, last_update_time) VALUES (?, ?, ?, 'active', ?, ?)",
                (number, f"exp{number}", f"mlflow-artifacts:/{number}", STARTED_MS, STARTED_MS),
            )
        for made in made_runs(runs):
            _insert(connection, made)
        connection.commit()


def _insert(connection: sqlite3.Connection, made: Made) -> None:
    connection.execute(
        "INSERT INTO runs (run_uuid, name, source_type, status, start_time, end_time,"
        " lifecycle_stage, experiment_id, artifact_uri, user_id)"
        " VALUES (?, ?, 'LOCAL', ?, ?, ?, 'active', ?, ?, 'ada')",
        (
            made.id,
            made.name,
            made.status.upper(),
            made.started_ms,
            made.started_ms + 500,
            made.experiment,
            f"mlflow-artifacts:/{made.experiment}/{made.id}/artifacts",
        ),
    )
    for table, pairs in (("params", made.params), ("tags", made.tags)):
        connection.executemany(
            f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)",
            [(key, value, made.id) for key, value in pairs.items()],
        )
    points = [
        (key, value, made.started_ms + step, made.id, step, 0)
        for key, values in made.metrics.items()
        for step, value in enumerate(values)
    ]
    columns = "(key, value, timestamp, run_uuid, step, is_nan)"
    connection.executemany(f"INSERT INTO metrics {columns} VALUES (?, ?, ?, ?, ?, ?)", points)
    latest = [point for point in points if point[4] == POINTS - 1]
    connection.executemany(
        f"INSERT INTO latest_metrics {columns} VALUES (?, ?, ?, ?, ?, ?)", latest
    )


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise RuntimeError("mlflow server did not begin")
