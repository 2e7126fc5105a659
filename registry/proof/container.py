"""The proof in a container: the image itself, run by the engine of this machine.

The engine keeps what was proven last of each image's name, under a name of its own, so that the
next proof sends it only the layers that have changed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from registry.blobs import BlobStore
from registry.docker_engine import ContainerEngine, Limits
from registry.engine_archive import EngineLayer, load_image
from registry.errors import CancelledError, EngineError
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Layer
from registry.proof.command import selftest
from registry.proof.machine import memory_bytes
from registry.proof.plan import IsCancelled, OnLine, Proof, ProofPlan
from registry.proof.report import find_report, is_report, judge
from registry.proof.unpacked import UnpackedLayers

GRACE_S = 20.0
"""Beyond the self-test's own limit: for the engine to start it."""
SAMPLE = f"/{BUNDLE_ROOT}.sample.json"
"""Beside the bundle, where an image has nothing."""


def engine_tag(reference: str) -> str:
    """What the engine calls the image ``name:version`` that was proven last."""
    return f"inferry-proof/{reference.rpartition(':')[0]}:latest"


def forget(engine: ContainerEngine, name: str) -> None:
    """Have the engine remove what it keeps for the images called ``name``; nothing when it keeps
    nothing. Raises EngineError."""
    engine.remove(engine_tag(f"{name}:"))


def prove_in_container(
    plan: ProofPlan,
    engine: ContainerEngine,
    *,
    store: BlobStore,
    unpacked: UnpackedLayers,
    on_line: OnLine,
    is_cancelled: IsCancelled,
) -> Proof:
    """Raises ProofError when it does not score, EngineError when the engine fails, and
    CancelledError."""
    started = time.monotonic()
    image = _load(plan, engine, store, on_line, is_cancelled)
    loaded = time.monotonic()
    memory = plan.memory_bytes or memory_bytes()
    with unpacked.room() as room:
        mounts = {}
        if plan.sample is not None:
            sample = (room / "sample.json").resolve()
            sample.write_bytes(plan.sample)
            sample.chmod(0o444)
            mounts[sample] = SAMPLE
        sample_path = None if plan.sample is None else SAMPLE
        imports = unpacked.known_imports.missing(plan, "container")
        command = selftest(plan, f"/{BUNDLE_ROOT}", sample_path, imports)
        finished = engine.run(
            image,
            command,
            limits=Limits(timeout_s=plan.timeout_s + GRACE_S, memory_bytes=memory),
            mounts=mounts,
            entrypoint=[plan.python_path],
            on_line=lambda line: None if is_report(line) else on_line(line),
            is_cancelled=is_cancelled,
        )
    ending = f"the container ended with exit code {finished.exit_code}"
    if finished.is_timed_out:
        ending = "the container did not end in time"
    if finished.is_out_of_memory:
        ending = f"the container took more than its memory of {memory // 1024**2} MiB"
    report = find_report(finished.output)
    log = "\n".join(line for line in finished.output.splitlines() if not is_report(line))
    shown = judge(report, ending, log)
    unpacked.known_imports.add(plan, "container")
    ran = time.monotonic() - loaded
    return Proof(
        "container",
        f"in a container of this image: {shown} ({loaded - started:.1f} s to load, {ran:.1f} s)",
        report,
    )


def _load(
    plan: ProofPlan,
    engine: ContainerEngine,
    store: BlobStore,
    on_line: OnLine,
    is_cancelled: IsCancelled,
) -> str:
    """The id of the image in the engine."""
    tag = engine_tag(plan.reference)
    image = f"sha256:{hashlib.sha256(plan.config).hexdigest()}"
    before = engine.image_id(tag)

    def chunks(layer: Layer) -> Iterator[bytes]:
        for chunk in store.chunks(layer.digest):
            if is_cancelled():
                raise CancelledError("the proof was cancelled")
            yield chunk

    layers = [
        EngineLayer(each.layer.diff_id, each.layer.size_bytes, partial(chunks, each.layer))
        for each in plan.layers
    ]
    try:
        sent = load_image(engine, plan.config, image, layers, tag)
    except EngineError:
        if is_cancelled():  # the engine says only that it got no more
            raise CancelledError("the proof was cancelled") from None
        raise
    on_line(f"proof: {sent} of {len(layers)} layers sent to the container engine")
    if before is not None and before != image:
        with suppress(EngineError):  # it may have another name too
            engine.remove(before)
    return image
