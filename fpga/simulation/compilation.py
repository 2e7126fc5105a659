"""What Verilator has written to a shared library, by g++: the parts beside each other, each with
the care that it is worth. Verilator's own part is the same for all, and compiled once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LARGE_BYTES = 64 * 1024
"""A file that is compiled by itself. Smaller ones cost less than the headers that they include."""
Run = Callable[[list[str]], str]


@dataclass(frozen=True, slots=True)
class Part:
    """Files that are compiled as one, with this optimisation."""

    name: str
    files: tuple[Path, ...]
    optimisation: str


def parts(written: Sequence[Path], harness: Path, sizes: Sequence[int]) -> list[Part]:
    """How the files are compiled. Pure.

    written: what Verilator wrote, with its sizes in bytes. Files whose name ends with Slow run once
    only, when a model starts, and are not optimised: as Verilator's own Makefile has it (OPT_SLOW).
    """
    fast = [(path, size) for path, size in zip(written, sizes, strict=True) if not _is_slow(path)]
    slow = tuple(path for path in written if _is_slow(path))
    small = tuple(path for path, size in fast if size < LARGE_BYTES)
    large = [path for path, size in fast if size >= LARGE_BYTES]
    found = [Part(f"large{number}", (path,), "-O2") for number, path in enumerate(large)]
    found.append(Part("small", (*small, harness), "-O2"))
    if slow:
        found.append(Part("slow", slow, "-O0"))
    return found


def compile_library(
    work: Path, harness: Path, share: Path, version: str, compiler: str, run: Run, kept: Path
) -> Path:
    """The library, in ``work``, of Verilator's files there. ``share``: Verilator's folder;
    ``kept``: where Verilator's own part is kept. Raises what ``run`` raises."""
    include = share / "include"
    written = sorted(work.glob("*.cpp"))
    options = [
        "-fPIC", "-std=c++17", "-pthread",
        "-I", str(work), "-I", str(include), "-I", str(include / "vltstd"),
    ]  # fmt: skip

    def compiled(part: Part) -> str:
        unit, made = work / f"part-{part.name}.cc", work / f"part-{part.name}.o"
        unit.write_text("".join(f'#include "{path}"\n' for path in part.files))
        run([compiler, part.optimisation, *options, "-c", str(unit), "-o", str(made)])
        return str(made)

    def runtime() -> list[str]:
        return [
            str(_runtime_part(source, version, [compiler, "-O2", *options], run, kept))
            for source in (include / "verilated.cpp", include / "verilated_threads.cpp")
            if source.exists()
        ]

    found = parts(written, harness, [path.stat().st_size for path in written])
    with ThreadPoolExecutor(max(2, len(os.sched_getaffinity(0)))) as pool:
        theirs = pool.submit(runtime)
        objects = list(pool.map(compiled, found))
        objects += theirs.result()
    made = work / "library.so"
    run([compiler, "-shared", "-o", str(made), *objects, "-pthread"])
    return made


def _runtime_part(source: Path, version: str, command: list[str], run: Run, kept: Path) -> Path:
    """An object file of Verilator's own code: the same for every library of this version."""
    digest = hashlib.sha256(f"{version} {command[0]}".encode() + source.read_bytes()).hexdigest()
    made = kept / f"{source.stem}-{digest[:32]}.o"
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=kept, prefix="build-") as name:
            fresh = Path(name) / "part.o"
            run([*command, "-c", str(source), "-o", str(fresh)])
            os.replace(fresh, made)
    return made


def _is_slow(path: Path) -> bool:
    return path.stem.endswith("Slow")
