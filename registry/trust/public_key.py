"""Public keys: how they are written, read and named. Needs the standard library only, until a
signature is checked."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from registry.errors import TrustError
from registry.trust import ed25519

KEY_BYTES = 32
MAX_TEXT_CHARS = 4096
PREFIX = "ed25519:"
_SPKI = bytes.fromhex("302a300506032b6570032100")
"""DER of a SubjectPublicKeyInfo up to an Ed25519 key's 32 bytes (RFC 8410)."""
_PEM = re.compile(
    r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----", re.ASCII
)
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""Points that anyone can make signatures for, without their sign bit."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key that signatures are checked with."""

    raw: bytes

    @property
    def key_id(self) -> str:
        """The sha256 of the raw key, in hex."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def pem(self) -> bytes:
        """As openssl writes it."""
        text = base64.b64encode(_SPKI + self.raw).decode()
        return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n".encode()

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` is this key's, of ``message``."""
        return ed25519.is_signature(self.raw, signature, message)

    def __str__(self) -> str:
        return PREFIX + base64.b64encode(self.raw).decode()


def parse_public_key(text: str | bytes) -> PublicKey:
    """A key as PEM, or as ``ed25519:<base64>``. Raises TrustError."""
    try:
        read = (text.decode("ascii") if isinstance(text, bytes) else text).strip()
    except UnicodeDecodeError:
        raise _no_key() from None
    if len(read) > MAX_TEXT_CHARS:
        raise _no_key()
    if "PRIVATE KEY" in read:
        raise TrustError("this is a private key, which nobody else may have; give its public half")
    return public_key(_raw_bytes(read))


def public_key(raw: bytes) -> PublicKey:
    """The key with these bytes. Raises TrustError for one that anybody can sign for."""
    if len(raw) != KEY_BYTES:
        raise _no_key()
    if raw[:-1] + bytes([raw[-1] & 0x7F]) in _SMALL_ORDER:
        raise TrustError("the key is one that anybody can make signatures for; make another")
    return PublicKey(raw)


def _raw_bytes(text: str) -> bytes:
    if text.startswith(PREFIX):
        return _decoded(text.removeprefix(PREFIX))
    found = _PEM.fullmatch(text)
    if not found:
        raise _no_key()
    der = _decoded("".join(found[1].split()))
    if not der.startswith(_SPKI) or len(der) != len(_SPKI) + KEY_BYTES:
        raise TrustError("the public key is no Ed25519 key, the only kind that is used here")
    return der.removeprefix(_SPKI)


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise _no_key() from None
    if base64.b64encode(data).decode() != text:
        raise _no_key()
    return data


def _no_key() -> TrustError:
    return TrustError(
        f"this is no public key; give PEM (-----BEGIN PUBLIC KEY-----) or {PREFIX}<base64>"
    )
