"""Signatures, checked by a process of their own, which ends: the library for them takes 7 MB, and
an agent needs it for a moment at each pull.

    key = ChildKey(parse_public_key(pem).raw)
    key.has_signed(signature, message)
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from edge.errors import PullError
from registry.trust.public_key import PublicKey

TIMEOUT_S = 60.0
VALID, WRONG = 10, 11
"""Exit codes that nothing else has."""
KEY_BYTES, SIGNATURE_BYTES = 32, 64
_PROGRAM = f"""
import sys
from registry.trust.ed25519 import is_signature
data = sys.stdin.buffer.read()
key, signature, message = data[:32], data[32:96], data[96:]
sys.exit({VALID} if is_signature(key, signature, message) else {WRONG})
"""


@dataclass(frozen=True, slots=True)
class ChildKey(PublicKey):
    """As a PublicKey. ``has_signed`` raises PullError when the process fails."""

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        if len(signature) != SIGNATURE_BYTES or len(self.raw) != KEY_BYTES:
            return False
        try:
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM],
                input=self.raw + signature + message,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(f"{type(error).__name__}") from error
        if done.returncode not in (VALID, WRONG):
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise _failed(lines[-1][:200] if lines else f"exit code {done.returncode}")
        return done.returncode == VALID


def _failed(why: str) -> PullError:
    return PullError(f"a signature could not be checked: {why}", is_temporary=True)
