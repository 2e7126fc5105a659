"""Verilog and a C++ harness to a shared library, by Verilator and g++; built once.

The cache is $INFERRY_CACHE/rtl, or ~/.cache/inferry/rtl. A library's name is the hash of sources,
parameters, harness and versions, so a change of any builds anew. Two processes that want the same
library build it once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fpga.errors import ToolError
from fpga.simulation.compilation import compile_library

RTL = Path(__file__).resolve().parents[1] / "rtl"
HARNESS = Path(__file__).resolve().parent
BUILD_S = 900
ADVICE = "apt-get install verilator g++"


def cache_folder() -> Path:
    """Where libraries lie; made when needed, for this user alone."""
    root = os.environ.get("INFERRY_CACHE")
    folder = Path(root) if root else Path.home() / ".cache" / "inferry"
    found = folder / "rtl"
    found.mkdir(parents=True, exist_ok=True, mode=0o700)
    return found


def sources() -> list[Path]:
    """All of the engine's and the board's Verilog."""
    return sorted(RTL.glob("*.v"))


def build(
    top: str,
    harness: Path,
    parameters: Mapping[str, int | str],
    *,
    verilog: Sequence[Path] | None = None,
    folder: Path | None = None,
) -> Path:
    """The library of module ``top`` with a harness. The first time takes some ten seconds.

    parameters: of the module; text is taken as Verilog (128'h...). Raises ToolError where a tool is
    missing or fails, with the last lines that it said.
    """
    files = sources() if verilog is None else sorted(verilog)
    share = _share(_tool("verilator"))
    digest = hashlib.sha256(f"{top} {sorted(parameters.items())} {share[1]}".encode())
    for path in [*files, harness]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    kept = (folder or cache_folder()) / f"{top}-{digest.hexdigest()[:32]}.so"
    if kept.exists():
        return kept
    compiler = _tool("g++")
    with _alone(kept.with_suffix(".lock")):
        if not kept.exists():
            _make(top, harness, parameters, files, share, compiler, kept)
    return kept


def _make(
    top: str,
    harness: Path,
    parameters: Mapping[str, int | str],
    files: Sequence[Path],
    verilator: tuple[Path, str],
    compiler: str,
    kept: Path,
) -> None:
    share, version = verilator
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="build-") as name:
        work = Path(name)
        _run(
            [
                "verilator", "--cc", "-O3", "--x-assign", "fast", "--x-initial", "unique",
                "--noassert", "--Mdir", str(work), "--prefix", f"V{top}", "--top-module", top,
                *(f"-G{key}={value}" for key, value in parameters.items()), *map(str, files),
            ]
        )  # fmt: skip
        made = compile_library(work, harness, share, version, compiler, _run, kept.parent)
        os.replace(made, kept)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolError(f"the simulated board needs {name}: {ADVICE}")
    return found


def _share(verilator: str) -> tuple[Path, str]:
    """Verilator's folder, and its version."""
    root = _run([verilator, "--getenv", "VERILATOR_ROOT"]).strip()
    return Path(root), _run([verilator, "--version"]).strip()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=BUILD_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolError(f"{Path(command[0]).name} was not done after {BUILD_S} s") from None
    if done.returncode != 0:
        said = " | ".join(done.stderr.strip().splitlines()[-5:])
        raise ToolError(f"{Path(command[0]).name} failed: {said}")
    return done.stdout


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
