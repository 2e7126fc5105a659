"""The proof in a process of this machine, with the same layers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from registry.blobs import BlobStore
from registry.errors import CancelledError
from registry.layers import Layer
from registry.proof.command import selftest
from registry.proof.machine import find_python, memory_bytes, misfit
from registry.proof.plan import IsCancelled, OnLine, Proof, ProofPlan
from registry.proof.process import run
from registry.proof.report import find_report, judge
from registry.proof.room import environment, own_environment, put_bundle, put_python
from registry.proof.unpacked import UnpackedLayers

GRACE_S = 15.0
"""Beyond the self-test's own limit."""


def prove_in_process(
    plan: ProofPlan,
    *,
    store: BlobStore,
    unpacked: UnpackedLayers,
    on_line: OnLine,
    is_cancelled: IsCancelled,
) -> Proof:
    """Proof("none") with the reason when this machine cannot run it. Raises ProofError when it does
    not score, and CancelledError."""
    python = Path(sys.executable)
    if plan.target is not None:
        reason = misfit(plan.target)
        if reason is not None:
            return Proof("none", reason)
        found = find_python(plan.target.python)
        if found is None:
            version = ".".join(map(str, plan.target.python))
            return Proof("none", f"there is no Python {version} on this machine")
        python = found

    def check() -> None:
        if is_cancelled():
            raise CancelledError("the proof was cancelled")

    started = time.monotonic()
    with ExitStack() as held:
        room = held.enter_context(unpacked.room())
        folders = [room]
        if plan.target is None:
            settings = own_environment(room)
        else:
            trees = [
                held.enter_context(unpacked.layer(store, layer, check))
                for kind in ("server", "dependencies")
                for layer in _layers(plan, kind)
            ]
            settings = environment(room, trees)
            python = put_python(python, room)
            folders += trees
        bundle = put_bundle(store, _layers(plan, "code"), plan.models, room, check)
        imports = unpacked.known_imports.missing(plan, "process")
        command = selftest(plan, str(bundle), _put_sample(plan, room), imports)
        unpacked_s = time.monotonic() - started
        finished = run(
            [str(python), *command],
            environment=settings,
            cwd=bundle,
            timeout_s=plan.timeout_s + GRACE_S,
            memory_bytes=plan.memory_bytes or memory_bytes(),
            on_line=lambda line: on_line(_as_in_image(line, folders)),
            is_cancelled=is_cancelled,
        )
    report = find_report(_as_in_image(finished.output, folders))
    shown = judge(report, finished.ending, _as_in_image(finished.log, folders))
    unpacked.known_imports.add(plan, "process")
    place = "the same layers" if plan.target is not None else "the packages of this installation"
    took_s = time.monotonic() - started
    return Proof(
        "process",
        f"in a process with {place}: {shown} ({took_s:.1f} s, {unpacked_s:.1f} s of it to unpack)",
        report,
    )


def _layers(plan: ProofPlan, kind: str) -> list[Layer]:
    return [layer.layer for layer in plan.layers if layer.kind == kind]


def _put_sample(plan: ProofPlan, room: Path) -> str | None:
    if plan.sample is None:
        return None
    path = room / "sample.json"
    path.write_bytes(plan.sample)
    return str(path)


def _as_in_image(text: str, folders: Sequence[Path]) -> str:
    """Paths as they are there: where the workspace lies is nobody's business."""
    for folder in map(str, folders):
        text = text.replace(folder, "").replace(json.dumps(folder)[1:-1], "")
    return text
