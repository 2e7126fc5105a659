"""Ed25519 itself; the one module that names the ``cryptography`` package, which is loaded when the
first key is used."""

from __future__ import annotations

from typing import Protocol

from registry.errors import TrustError


class PrivateKey(Protocol):
    """A private key in memory. It never shows itself."""

    def sign(self, message: bytes, /) -> bytes:
        """The signature, 64 bytes."""
        ...


def generate() -> bytes:
    """A new private key as PKCS8 PEM."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise _missing() from error
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_private(pem: bytes, what: str) -> tuple[PrivateKey, bytes]:
    """The private key, and its public half as 32 raw bytes. ``what`` names its file in the message
    of the TrustError for anything else than an Ed25519 key without a passphrase."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise _missing() from error
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise TrustError(
            f"{what} is encrypted with a passphrase; give a key without one"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{what} is no private key in PEM form, or is damaged") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError(
            f"{what} is no Ed25519 key; make one with openssl genpkey -algorithm ed25519"
        )
    return key, key.public_key().public_bytes_raw()


def is_signature(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key with these 32 raw bytes made ``signature`` of ``message``."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise _missing() from error
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _missing() -> TrustError:
    return TrustError("signatures need the package cryptography: pip install 'inferry[registry]'")
