"""Which modules were seen to import, of layers that were proven before: the same packages on the
same base import again, and trying takes longer than all the rest of a proof."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from registry.blobs import disk_errors_said
from registry.proof.plan import ProofPlan

SUFFIX = ".imports"
KEPT = 100
"""Files; each is small."""


class KnownImports:
    """Kept in ``folder``, a file for each set of layers and place of the proof."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def missing(self, plan: ProofPlan, how: str) -> tuple[str, ...]:
        """The modules that have not been seen to import."""
        known: object = None
        with suppress(OSError, ValueError):
            path = self._path(plan, how)
            known = json.loads(path.read_bytes())
            os.utime(path)
        seen = set(known) if isinstance(known, list) else set()
        return tuple(name for name in plan.imports if name not in seen)

    def add(self, plan: ProofPlan, how: str) -> None:
        """All modules of the plan have been seen to import."""
        if not plan.imports:
            return
        path = self._path(plan, how)
        names = set(plan.imports)
        with suppress(OSError, ValueError):
            names.update(map(str, json.loads(path.read_bytes())))
        with disk_errors_said():
            self._folder.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(sorted(names)))
            os.replace(new, path)
        self._trim(KEPT)

    def clear(self) -> None:
        """Forget all."""
        self._trim(0)

    def _path(self, plan: ProofPlan, how: str) -> Path:
        layers = _below_code(plan)
        key = json.dumps([how, str(plan.target), plan.python_path, layers])
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}{SUFFIX}"

    def _trim(self, keep: int) -> None:
        with suppress(OSError):
            _remove(sorted(self._folder.glob(f"*{SUFFIX}"), key=_age)[keep:])


def _below_code(plan: ProofPlan) -> Sequence[str]:
    kinds = ("base", "dependencies", "server")
    return [layer.layer.diff_id for layer in plan.layers if layer.kind in kinds]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0
