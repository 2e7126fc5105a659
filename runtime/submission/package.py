"""All that a target gets, as one tar: the script's folder, its inputs, the order, and what carries
that out. A target needs nothing but Python."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from registry.tracking import RunRecord
from registry.tracking.snapshots import Snapshot, SnapshotFile, Submission
from runtime.submission.client import client_files, shim_files
from runtime.submission.places.port import Traits
from runtime.submitted.layout import (
    ANSWERS,
    AZUREML,
    CLIENT,
    CODE,
    FILES,
    INPUTS,
    ORDER,
    OUTPUTS,
    RUN,
)
from runtime.tracking.journal import CONTEXT

AGENT = """\
import os, sys
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "client"))
sys.dont_write_bytecode = True
from runtime.submitted.main import main
main(HERE)
"""
Open = Callable[[SnapshotFile], Iterable[bytes]]
_BLOCK = 512


def package(
    submission: Submission,
    order: Mapping[str, Any],
    run: RunRecord,
    chunks: Open,
    *,
    traits: Traits,
    zips: Mapping[str, bytes],
) -> Iterator[bytes]:
    """The tar. ``chunks`` reads a file of a snapshot; ``zips``: more files."""
    tar = _Tar(is_open=traits.is_open, top=f"{traits.top}/" if traits.top else "")
    if traits.top:
        yield tar.folder("")
    yield from tar.file("agent.py", AGENT.encode())
    for path, data in client_files().items():
        yield from tar.file(f"{CLIENT}/{path}", data)
    for path, data in shim_files().items():
        yield from tar.file(f"{AZUREML}/{path}", data)
    for folder in (RUN, f"{RUN}/{FILES}", f"{RUN}/{ANSWERS}", CODE, f"{CODE}/{OUTPUTS}"):
        yield tar.folder(folder)
    yield from tar.file(f"{RUN}/{CONTEXT}", json.dumps(context_of(run)).encode())
    for name, data in zips.items():
        yield from tar.file(name, data)
    yield from _snapshot(tar, CODE, submission.snapshot, chunks)
    for name, snapshot in submission.inputs.items():
        yield tar.folder(f"{CODE}/{INPUTS}/{name}")
        yield from _snapshot(tar, f"{CODE}/{INPUTS}/{name}", snapshot, chunks)
    yield from tar.file(ORDER, json.dumps(order).encode(), mode=0o600)
    yield bytes(2 * _BLOCK)


def context_of(run: RunRecord) -> dict[str, Any]:
    """What the script knows of its run."""
    return {
        "experiment": run.experiment,
        "number": run.number,
        "name": run.name,
        "started_ms": run.started_ms,
        "parent": run.parent,
        "tags": dict(run.tags),
    }


class _Tar:
    """Its parts, as bytes."""

    def __init__(self, *, is_open: bool, top: str) -> None:
        self._is_open = is_open
        self._top = top

    def folder(self, path: str) -> bytes:
        """An entry for it."""
        info = tarfile.TarInfo(self._top + path)
        info.type, info.mode = tarfile.DIRTYPE, 0o777 if self._is_open else 0o700
        return info.tobuf(tarfile.PAX_FORMAT)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> Iterator[bytes]:
        """A small one."""
        return self.stream(path, len(data), [data], 0o666 if self._is_open else mode)

    def stream(
        self, path: str, size_bytes: int, chunks: Iterable[bytes], mode: int
    ) -> Iterator[bytes]:
        """One of any size."""
        info = tarfile.TarInfo(self._top + path)
        info.size, info.mode = size_bytes, mode
        yield info.tobuf(tarfile.PAX_FORMAT)
        yield from chunks
        yield bytes(-size_bytes % _BLOCK)


def _snapshot(tar: _Tar, top: str, snapshot: Snapshot, chunks: Open) -> Iterator[bytes]:
    made = {top}
    for file in snapshot.files:
        for folder in _folders(top, file.path):
            if folder not in made:
                made.add(folder)
                yield tar.folder(folder)
        mode = 0o755 if file.is_executable else 0o644
        yield from tar.stream(f"{top}/{file.path}", file.size_bytes, chunks(file), mode)


def _folders(top: str, path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return [f"{top}/{'/'.join(parts[:count])}" for count in range(1, len(parts) + 1)]
