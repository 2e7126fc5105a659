"""What the service costs before anyone asks it: installed megabytes, time to the first answer, time
of an import, memory. Beside it ``mlflow server``, from scripts/peers.

    python -m benchmarks.tracking.footprint [--starts 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks import cpu
from benchmarks.outcome import table
from benchmarks.servers import free_port
from benchmarks.tracking import mlflow_server
from registry import Workspace

ROOT = Path(__file__).parents[2]
READY_S = 240.0


def installed_mb(python: Path) -> tuple[float, int]:
    """Megabytes of all files of a virtual environment's packages, and how many packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = Path(_output([str(python), "-c", code]))
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files) / 1e6, len(list(folder.glob("*.dist-info")))


def install_own(folder: Path) -> Path:
    """A virtual environment with what the service needs, and nothing for tests. Its Python."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
    python = folder / "bin/python"
    subprocess.run(
        [
            uv,
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "--python",
            python,
            f"{ROOT}[registry,scoring,portal]",
        ],
        check=True,
    )
    return python


def start_s(command: Sequence[str | Path], url: str, cwd: Path) -> tuple[float, float]:
    """Seconds from exec to the first 200, and the processes' PSS in MB then."""
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    break
            if process.poll() is not None or time.monotonic() - began > READY_S:
                raise RuntimeError(f"{command[0]} did not begin")
            time.sleep(0.01)
        return time.monotonic() - began, cpu.pss_bytes(process.pid) / 1e6
    finally:
        process.terminate()
        process.wait(timeout=30)


def import_s(python: Path, code: str) -> float:
    """Seconds of a Python that does only this."""
    began = time.monotonic()
    subprocess.run([python, "-c", code], check=True, cwd="/")
    return time.monotonic() - began


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _median(measure: Callable[[], float], times: int) -> float:
    measure()  # once for the disk's cache
    return statistics.median(measure() for _ in range(times))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=5)
    starts = parser.parse_args().starts
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        own = install_own(folder / "venv")
        Workspace.init(folder / "ws", base="none")
        sides: list[tuple[str, Path, Callable[[int], list[str | Path]], str, str]] = [
            (
                "Inferry",
                own,
                lambda port: [
                    *(own.with_name("inferry"), "registry", "serve", "-w", folder / "ws"),
                    *("--port", str(port)),
                ],
                "/healthz",
                "from runtime.tracking import Run",
            )
        ]
        peer = mlflow_server.python()
        if peer is not None:
            sides.append(
                (
                    "MLflow",
                    peer,
                    lambda port: [
                        *(peer.with_name("mlflow"), "server", "--port", str(port)),
                        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                        *("--artifacts-destination", folder / "artifacts"),
                    ],
                    "/health",
                    "import mlflow",
                )
            )
        found: dict[str, list[tuple[float, float]]] = {}
        for turn in range(starts + 1):
            for name, _, command, path, _ in sides:
                port = free_port()
                figures = start_s(command(port), f"http://127.0.0.1:{port}{path}", folder)
                print(f"  {name}: {figures[0]:.2f} s, {figures[1]:.0f} MB", flush=True)
                if turn:  # the first fills the disk's cache and makes the database
                    found.setdefault(name, []).append(figures)
        for name, python, _, _, code in sides:
            megabytes, packages = installed_mb(python)
            imported = _median(lambda python=python, code=code: import_s(python, code), starts)  # type: ignore[misc]
            ready, memory = (statistics.median(each) for each in zip(*found[name], strict=True))
            rows.append(
                [
                    name,
                    f"{megabytes:.0f}",
                    str(packages),
                    f"{ready:.2f}",
                    f"{memory:.0f}",
                    f"{imported:.2f}",
                ]
            )
    header = ["", "installed MB", "packages", "first answer s", "PSS MB", "import of the client s"]
    print("\n".join(["", table(header, rows)]))


if __name__ == "__main__":
    main()
