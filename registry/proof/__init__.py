"""The proof that an image scores, before it is called succeeded: see proving.py.

proof = prove(plan, store=store, unpacked=UnpackedLayers(folder), engine=None, on_line=print,
              cancelled=lambda: False)
print(proof.detail)
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.proof.plan import Proof, ProofPlan
    from registry.proof.proving import prove
    from registry.proof.sample import MAX_SAMPLE_BYTES, read_sample
    from registry.proof.unpacked import UnpackedLayers

__all__ = ["MAX_SAMPLE_BYTES", "Proof", "ProofPlan", "UnpackedLayers", "prove", "read_sample"]
_HOMES = {
    "MAX_SAMPLE_BYTES": "sample",
    "Proof": "plan",
    "ProofPlan": "plan",
    "UnpackedLayers": "unpacked",
    "prove": "proving",
    "read_sample": "sample",
}


def __getattr__(name: str) -> object:
    """Imported when asked for: a device unpacks with this package, and proves nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'registry.proof' has no attribute {name!r}")
    return getattr(importlib.import_module(f"registry.proof.{_HOMES[name]}"), name)
