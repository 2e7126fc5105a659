"""Whether the stock ``mlflow`` client finds with Inferry what it finds with ``mlflow server``.

    python -m benchmarks.tracking.mlflow_conformance            # ours, against what is recorded
    python -m benchmarks.tracking.mlflow_conformance --record   # asks mlflow server anew

One script (mlflow_script.py) runs against a server, with the client of MLflow 3 and with the last
one of MLflow 2 (scripts/mlflow-client); the outcomes of each are compared. Those of the real server
are in mlflow_answers.json, so that a test needs only the clients. Where Inferry means to do
otherwise, DIFFERENCES says so and why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.servers import free_port
from benchmarks.tracking import mlflow_inferry, mlflow_server

ROOT = Path(__file__).parents[2]
CLIENTS: Mapping[str, Path] = {
    "3": ROOT / ".venv-mlflow/bin/python",
    "2": ROOT / ".venv-mlflow2/bin/python",
}
"""By major version, as scripts/mlflow-client installs them."""
RECORDED = Path(__file__).with_name("mlflow_answers.json")
DIFFERENCES: Mapping[str, str] = {
    "artifacts.out[2][2]": "an empty file has a size, which is 0",
}
"""Paths of outcomes that differ on purpose, and why."""
Outcomes = dict[str, Any]


def run_script(python: Path, url: str, folder: Path) -> Outcomes:
    """The script's outcomes with this server. Raises RuntimeError."""
    done = subprocess.run(
        [python, "-m", "benchmarks.tracking.mlflow_script", url],
        cwd=folder,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the client's script failed:\n{done.stderr[-4000:]}")
    found: Outcomes = json.loads(done.stdout.splitlines()[-1])
    return found


def recorded(major: str) -> Outcomes:
    """Those of ``mlflow server`` with this client, as they were when ``--record`` was last used."""
    found: Outcomes = json.loads(RECORDED.read_text())["outcomes"][major]
    return found


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, what is wanted and what is found, of each difference. Pure."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted({*wanted, *found}):
            below = f"{path}.{key}" if path else str(key)
            yield from differences(wanted.get(key), found.get(key), below)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif wanted != found:
        yield path, wanted, found


def main() -> None:
    """Prints the differences; exits with 1 if one is not meant to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()
    absent = [f"scripts/mlflow-client {m}" for m, python in CLIENTS.items() if not python.exists()]
    if absent:
        sys.exit(f"install the clients first: {'; '.join(absent)}")
    with tempfile.TemporaryDirectory(prefix="inferry-mlflow-") as name:
        folder = Path(name)
        if asked.record:
            _record(folder)
        unmeant = sum(_compared(major, folder) for major in CLIENTS)
    print(f"{unmeant} differences that are not meant to be")
    sys.exit(unmeant > 0)


def _record(folder: Path) -> None:
    python = mlflow_server.python()
    if python is None:
        sys.exit("make .venv-peers-mlflow first: scripts/peers mlflow")
    outcomes = {}
    for major, client in CLIENTS.items():
        own = folder / f"server-{major}"
        own.mkdir()
        with mlflow_server.serving(own, free_port()) as server:
            outcomes[major] = run_script(client, server.url, own)
    document = {
        "server": f"mlflow server {_version(python)}, SQLite",
        "clients": {major: _version(client) for major, client in CLIENTS.items()},
        "outcomes": outcomes,
    }
    RECORDED.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _version(python: Path) -> str:
    return subprocess.run(
        [python, "-c", "import mlflow; print(mlflow.__version__)"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def _compared(major: str, folder: Path) -> int:
    """How many differences there are with this client that are not meant to be; prints all."""
    own = folder / major
    own.mkdir()
    with mlflow_inferry.serving(own, free_port()) as served:
        found = run_script(CLIENTS[major], served.url, own)
    unmeant = 0
    for path, wanted, ours in differences(recorded(major), found):
        why = DIFFERENCES.get(path)
        unmeant += why is None
        said = f" ({why})" if why else ""
        print(f"client {major}, {path}: MLflow {wanted!r}, Inferry {ours!r}{said}")
    return unmeant


if __name__ == "__main__":
    main()
