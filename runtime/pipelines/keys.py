"""The key of a step: the same for two steps that would do the same. Pure.

It covers the step as it is written, with its parameters in place, what its runner says of its
surroundings (of a script: every file of its folder), and the digests of what it gets. What it does
not cover is what is installed where it runs; ``--no-reuse`` is for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from registry.blobs import file_chunks
from registry.tree import SourceFile
from runtime.pipelines.port import Done
from runtime.pipelines.steps import (
    FILES,
    AnyStep,
    ImageStep,
    RegisterStep,
    ScriptStep,
    Source,
)

VERSION = 1
HOW = ("name", "needs", "retries", "reuse")
"""Fields that say how it is run, not what it does."""
WHERE = ("folder", "inputs", "files", *FILES["image"])
"""Fields that say where something is; what it is, is among the facts or what it gets."""


def key_of(step: AnyStep, facts: Any, before: Mapping[str, Done]) -> str:
    """``before``: what the steps that it needs left."""
    written = {k: v for k, v in msgspec.to_builtins(step).items() if k not in (*HOW, *WHERE)}
    if not written.get("allow_pickle", True):
        del written["allow_pickle"]  # steps from before it was there have the same key
    document = {
        "version": VERSION,
        "kind": step.kind,
        "step": written,
        "facts": facts,
        "gets": _gets(step, before),
    }
    data = msgspec.json.encode(document, order="deterministic")
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chosen_files(files: Mapping[str, str], path: str) -> dict[str, str]:
    """The file ``path`` under its own name, or the files below the folder ``path`` with their paths
    in it; none, if there is neither. "" is the folder of all."""
    if not path:
        return dict(files)
    if path in files:
        return {path.rsplit("/", 1)[-1]: files[path]}
    return {
        each.removeprefix(f"{path}/"): digest
        for each, digest in files.items()
        if each.startswith(f"{path}/")
    }


def files_digest(files: Iterable[SourceFile]) -> str:
    """Of paths, bytes, and what can be executed. Raises InvalidSourceError."""
    total = hashlib.sha256()
    for file in sorted(files, key=lambda each: each.path):
        own = hashlib.sha256()
        with file.open() as opened:
            for chunk in file_chunks(opened):
                own.update(chunk)
        total.update(f"{file.path}\0{int(file.is_executable)}\0{own.hexdigest()}\n".encode())
    return f"sha256:{total.hexdigest()}"


def _gets(step: AnyStep, before: Mapping[str, Done]) -> Any:
    if isinstance(step, ScriptStep):
        return {name: _source(text, before) for name, text in step.inputs.items()}
    if isinstance(step, RegisterStep):
        return _source(step.files, before)
    refs = step.models if isinstance(step, ImageStep) else (step.image,)
    return [[before[ref].made, before[ref].digest] for ref in refs if ref in before]


def _source(text: str, before: Mapping[str, Done]) -> Any:
    source = Source.of(text)
    if source.step is None:
        return None  # its files are among the facts
    return chosen_files(before[source.step].files, source.path)
