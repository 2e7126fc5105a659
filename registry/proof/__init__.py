"""The proof that an image scores, before it is called succeeded: see proving.py.

proof = prove(plan, store=store, unpacked=UnpackedLayers(folder), engine=None, on_line=print,
              cancelled=lambda: False)
print(proof.detail)
"""

from registry.proof.plan import Proof, ProofPlan
from registry.proof.proving import prove
from registry.proof.sample import MAX_SAMPLE_BYTES, read_sample
from registry.proof.unpacked import UnpackedLayers

__all__ = ["MAX_SAMPLE_BYTES", "Proof", "ProofPlan", "UnpackedLayers", "prove", "read_sample"]
