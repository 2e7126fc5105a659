"""Which files of Inferry a target gets: what runs the script there, and the tracker for the script
with all that it imports. Found by reading the imports, so that none is forgotten; what is imported
within a function is for other ways to a workspace, and stays here."""

from __future__ import annotations

import ast
import functools
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).parent / "shim"
OWN = ("registry", "runtime")
ROOTS = ("runtime.tracking.run", "runtime.tracking.azure", "runtime.submitted.main")
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@functools.cache
def client_files() -> Mapping[str, bytes]:
    """By path. What a Python needs to import ROOTS, beside its standard library."""
    found: dict[str, bytes] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if path is None or path in found:
            continue
        found[path] = (TOP / path).read_bytes()
        waiting += _imported(found[path])
        waiting += [name.rpartition(".")[0]] if "." in name else []
    return dict(sorted(found.items()))


@functools.cache
def shim_files() -> Mapping[str, bytes]:
    """azureml.core.Run, by path."""
    files = sorted((SHIM / "azureml").rglob("*.py"))
    return {file.relative_to(SHIM).as_posix(): file.read_bytes() for file in files}


def client_zip() -> bytes:
    """The client, for Spark's executors."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in client_files().items():
            archive.writestr(zipfile.ZipInfo(path, ZIP_TIME), data)
    return buffer.getvalue()


def _path(name: str) -> str | None:
    """Of a module or package; None for what is neither, such as a name in one."""
    base = name.replace(".", "/")
    return next((p for p in (f"{base}.py", f"{base}/__init__.py") if (TOP / p).is_file()), None)


def _imported(source: bytes) -> Iterator[str]:
    """What a module imports when it is imported. A name that it takes may be a module too."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        else:
            names = []
        yield from (name for name in names if name.split(".")[0] in OWN)
