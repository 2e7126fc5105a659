"""Proves that an image scores: in a container where a container engine is at hand, else in a
process of this machine with the same layers, else not, and says why not."""

from __future__ import annotations

from registry.blobs import BlobStore
from registry.docker_engine import ContainerEngine
from registry.errors import EngineError
from registry.proof.container import prove_in_container
from registry.proof.local import prove_in_process
from registry.proof.plan import IsCancelled, OnLine, Proof, ProofPlan
from registry.proof.unpacked import UnpackedLayers


def prove(
    plan: ProofPlan,
    *,
    store: BlobStore,
    unpacked: UnpackedLayers,
    engine: ContainerEngine | None,
    on_line: OnLine,
    cancelled: IsCancelled,
) -> Proof:
    """Raises ProofError, with the log, when the image does not score; CancelledError;
    DamagedBlobError and StoreFullError of the workspace. An engine that fails is no obstacle."""
    if engine is not None and plan.target is not None:
        try:
            if engine.is_local() and engine.platform() == plan.target.platform:
                return prove_in_container(
                    plan,
                    engine,
                    store=store,
                    unpacked=unpacked,
                    on_line=on_line,
                    is_cancelled=cancelled,
                )
        except EngineError as error:
            on_line(f"proof: not in a container: {error}")
    return prove_in_process(
        plan, store=store, unpacked=unpacked, on_line=on_line, is_cancelled=cancelled
    )
