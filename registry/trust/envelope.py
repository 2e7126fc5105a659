"""DSSE envelopes: a payload, its type, and signatures of both. Pure.

https://github.com/secure-systems-lab/dsse: what is signed is ``pae(type, payload)``, so no payload
can be taken for one of another type; the key's id is a hint, never trusted; fields that are not
known are ignored, as the specification demands.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from registry.errors import TrustError
from registry.trust import strict_json
from registry.trust.public_key import PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 1024 * 1024
MAX_SIGNATURES = 16
SIGNATURE_BYTES = 64
_WHAT = "the signature's envelope"
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}")


class Signer(Protocol):
    """Who signs; WorkspaceKey is one."""

    @property
    def key_id(self) -> str:
        """The hint by which a verifier finds the key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature; ``key_id`` is empty when the envelope has none."""

    key_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an envelope has, none of it checked."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def sign(payload: bytes, signers: Iterable[Signer], payload_type: str = PAYLOAD_TYPE) -> bytes:
    """An envelope of ``payload`` as JSON. Ed25519 draws nothing: equal inputs, equal bytes."""
    message = pae(payload_type, payload)
    return strict_json.encoded(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": payload_type,
            "signatures": [
                {"keyid": signer.key_id, "sig": base64.b64encode(signer.sign(message)).decode()}
                for signer in signers
            ],
        }
    )


def read_envelope(data: bytes) -> Envelope:
    """The envelope in ``data``, its signatures unchecked. Raises TrustError."""
    document = strict_json.read_object(data, _WHAT, MAX_BYTES)
    signatures = strict_json.objects(document, "signatures", _WHAT)
    if not signatures:
        raise TrustError(f"{_WHAT} has no signature")
    if len(signatures) > MAX_SIGNATURES:
        raise TrustError(f"{_WHAT} has more than {MAX_SIGNATURES} signatures")
    return Envelope(
        strict_json.text(document, "payloadType", _WHAT),
        _decoded(strict_json.text(document, "payload", _WHAT), "payload"),
        tuple(map(_signature, signatures)),
    )


def verify_envelope(
    data: bytes, trusted: Sequence[PublicKey], payload_type: str = PAYLOAD_TYPE
) -> tuple[bytes, tuple[PublicKey, ...]]:
    """The payload, and those of the ``trusted`` keys that signed it, at least one. Raises
    TrustError."""
    envelope = read_envelope(data)
    if envelope.payload_type != payload_type:
        raise TrustError(
            f"{_WHAT} holds {ascii(envelope.payload_type)[:80]}, not a statement about an image"
            f" ({payload_type})"
        )
    message = pae(envelope.payload_type, envelope.payload)
    signed = tuple(
        key
        for key in dict.fromkeys(trusted)
        if any(key.has_signed(signature.data, message) for signature in envelope.signatures)
    )
    if not signed:
        raise TrustError(_no_key_fits(envelope, trusted))
    return envelope.payload, signed


def _no_key_fits(envelope: Envelope, trusted: Sequence[PublicKey]) -> str:
    known = {key.key_id for key in trusted}
    hints = [signature.key_id for signature in envelope.signatures]
    meant = next((hint for hint in hints if hint in known), None)
    if meant is not None:
        return (
            f"the signature of key {meant[:12]} does not fit what it signs: one of them was changed"
        )
    by = ", ".join(ascii(hint[:12])[1:-1] or "without a name" for hint in hints)
    return f"it is signed by key {by}, which is none of the {len(known)} trusted keys"


def _signature(item: dict[str, Any]) -> Signature:
    data = _decoded(strict_json.text(item, "sig", _WHAT), "sig")
    if len(data) != SIGNATURE_BYTES:
        raise TrustError(f"{_WHAT} has a signature of {len(data)} bytes, not {SIGNATURE_BYTES}")
    return Signature(strict_json.optional_text(item, "keyid", _WHAT) or "", data)


def _decoded(value: str, key: str) -> bytes:
    """Base64 with either alphabet, as DSSE says, and in its one canonical form: with padding, and
    no bits that mean nothing."""
    if _BASE64.fullmatch(value):
        plain = value.replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(plain, validate=True)
        except ValueError:
            data = b""
        if base64.b64encode(data).decode() == plain:
            return data
    raise TrustError(f"{_WHAT} has a '{key}' that is not canonical base64")
