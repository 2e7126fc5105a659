"""Verilates a bench once and keeps the library, by the hash of what went into it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

RTL = Path(__file__).resolve().parents[3] / "fpga" / "rtl"
AROUND = {"dma.v", "gpio.v", "board.v"}  # the engine has no use for them
CACHE = Path(tempfile.gettempdir()) / f"inferry-rtl-benches-{os.getuid()}"


def library(top: str, bench: Path, parameters: Mapping[str, int]) -> Path:
    """The shared library of module `top` with the C++ of `bench`. Takes up to a minute at first."""
    sources = sorted(path for path in RTL.glob("*.v") if path.name not in AROUND)
    digest = hashlib.sha256(repr(sorted(parameters.items())).encode() + top.encode())
    for source in [*sources, bench]:
        digest.update(source.read_bytes())
    kept = CACHE / f"{top}-{digest.hexdigest()[:24]}.so"
    if kept.exists():
        return kept
    CACHE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        _verilate(Path(folder), top, bench, sources, parameters)
        built = Path(folder) / "bench.so"
        subprocess.run(
            [
                "g++",
                "-O2",
                "-shared",
                "-fPIC",
                "-std=c++17",
                "-o",
                str(built),
                *map(str, Path(folder).glob("*.cpp")),
                str(bench),
                *(
                    str(_share() / "include" / name)
                    for name in ("verilated.cpp", "verilated_threads.cpp")
                ),
                "-I",
                folder,
                "-I",
                str(_share() / "include"),
                "-I",
                str(_share() / "include/vltstd"),
                "-pthread",
                "-lpthread",
            ],
            check=True,
            timeout=600,
        )
        os.replace(built, kept)
    return kept


def _verilate(
    folder: Path, top: str, bench: Path, sources: list[Path], parameters: Mapping[str, int]
) -> None:
    subprocess.run(
        [
            "verilator",
            "--cc",
            "-O3",
            "--x-assign",
            "fast",
            "--x-initial",
            "unique",
            "--noassert",
            "--Mdir",
            str(folder),
            "--prefix",
            f"V{top}",
            "--top-module",
            top,
            *(f"-G{name}={value}" for name, value in parameters.items()),
            *map(str, sources),
        ],
        check=True,
        timeout=120,
    )


def _share() -> Path:
    found = shutil.which("verilator")
    assert found is not None
    out = subprocess.run([found, "--getenv", "VERILATOR_ROOT"], check=True, capture_output=True)
    return Path(out.stdout.decode().strip())
