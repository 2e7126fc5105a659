"""Inferry's MLflow REST in a process of its own, as ``mlflow server`` is one.

python -m benchmarks.tracking.mlflow_inferry ROOT PORT
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

READY_S = 60.0
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Served:
    """One that answers."""

    url: str
    pid: int


@contextmanager
def serving(folder: Path, port: int) -> Iterator[Served]:
    """For the block: the workspace ``ws`` in the folder, which is made if it is not there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tracking.mlflow_inferry", folder / "ws", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield Served(url, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"{url}/api/3.0/mlflow/server-info", timeout=2),
        ):
            return
        time.sleep(0.1)
    raise RuntimeError("Inferry did not begin")


def main() -> None:
    """Serves until it is asked to end."""
    import uvicorn

    from registry import Workspace
    from runtime.mlflow_service import MlflowApp

    root = Path(sys.argv[1])
    is_there = (root / "workspace.db").exists()
    app = MlflowApp(Workspace.open(root) if is_there else Workspace.init(root, base="none"))
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="asyncio",
        http="httptools",
        lifespan="off",
        log_level="warning",
    )


if __name__ == "__main__":
    main()
