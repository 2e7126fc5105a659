"""Scripts that log as fast as they can, to a workspace and to ``mlflow server``.

Each prints its own seconds, from the first value to the last acknowledged one; what it costs to
import and to begin a run is not in them. The same loop, the same values.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

INFERRY = """
import sys, time
from runtime.tracking import Run
count = int(sys.argv[1])
with Run("bench", outputs=None) as run:
    run.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.perf_counter()
    for number in range(count):
        run.log("loss", number * 0.5, step=number)
    assert run.flush()
    print("took", time.perf_counter() - began_s, run.id)
"""
INFERRY_FLUSHED = INFERRY.replace("step=number)\n", "step=number)\n        assert run.flush()\n")
MLFLOW = """
import sys, time
import mlflow
count = int(sys.argv[1])
mlflow.set_tracking_uri(sys.argv[2])
mlflow.set_experiment("bench")
with mlflow.start_run() as run:
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.perf_counter()
    for number in range(count):
        mlflow.log_metric("loss", number * 0.5, step=number)
    print("took", time.perf_counter() - began_s, run.info.run_id)
"""
MLFLOW_ASYNC = MLFLOW.replace("step=number)", "step=number, synchronous=False)").replace(
    "    print(", "    mlflow.flush_async_logging()\n    print("
)
MLFLOW_BATCH = """
import sys, time
import mlflow
from mlflow.entities import Metric
count = int(sys.argv[1])
mlflow.set_tracking_uri(sys.argv[2])
mlflow.set_experiment("bench")
client = mlflow.MlflowClient()
with mlflow.start_run() as run:
    print("ready", flush=True)
    sys.stdin.readline()
    began_s = time.perf_counter()
    for start in range(0, count, 1000):
        client.log_batch(run.info.run_id, metrics=[
            Metric("loss", number * 0.5, int(time.time() * 1000), number)
            for number in range(start, min(start + 1000, count))])
    print("took", time.perf_counter() - began_s, run.info.run_id)
"""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Writing:
    """What writers reached together: all values over the time of the slowest."""

    rate: float
    runs: tuple[str, ...]


def write(
    code: str, python: Path | str, folder: Path, count: int, *arguments: str, writers: int = 1
) -> Writing:
    """``writers`` processes that begin at the same time, each with ``count`` values."""
    processes = [
        subprocess.Popen(
            [python, "-c", code, str(count), *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(writers)
    ]
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("a writer did not begin")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [_took(process.communicate()[0]) for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("a writer failed")
    slowest_s = max(seconds for seconds, _ in said)
    return Writing(writers * count / slowest_s, tuple(run for _, run in said))


def _took(text: str) -> tuple[float, str]:
    """Seconds and run, from the line that says so: MLflow prints more."""
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "took":
            seconds, run = rest.split()
            return float(seconds), run
    raise RuntimeError("a writer failed")
