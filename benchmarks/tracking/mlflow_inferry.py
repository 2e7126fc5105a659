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
from pathlib import Path

READY_S = 60.0
ROOT = Path(__file__).parents[2]


@contextmanager
def serving(folder: Path, port: int) -> Iterator[str]:
    """For the block; its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tracking.mlflow_inferry", folder / "ws", str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process)
        yield url
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

    app = MlflowApp(Workspace.init(Path(sys.argv[1]), base="none"))
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
