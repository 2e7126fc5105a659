"""A certificate file, before HAProxy gets it: what is wrong with it is said in a line."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path

from runtime.balance.errors import CertificateError

MOST_BYTES = 1 << 20


def certificate_text(path: Path, now: datetime.datetime) -> str:
    """The PEM blocks of a chain and its private key, from one file. Raises CertificateError when it
    cannot be read, is no such file, has no key or not the certificate's, or has expired."""
    # Part of the extras registry and edge, which a host that deploys has.
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    data = _read(path)
    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise CertificateError(f"{path} has no certificate in PEM form") from None
    try:
        key = serialization.load_pem_private_key(_key_block(data), None)
    except (ValueError, TypeError):
        raise CertificateError(
            f"{path} has no private key, without a password, beside its certificate"
        ) from None
    shown = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*shown) != chain[0].public_key().public_bytes(*shown):
        raise CertificateError(f"the private key in {path} is not its first certificate's")
    begins, ends = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    if ends <= now:
        raise CertificateError(f"the certificate in {path} expired on {ends:%Y-%m-%d %H:%M} UTC")
    if begins > now:
        raise CertificateError(f"the certificate in {path} begins on {begins:%Y-%m-%d %H:%M} UTC")
    blocks = [one.public_bytes(Encoding.PEM).decode() for one in chain]
    return "".join([*blocks, _key_block(data).decode()])


def certificate_sha1(pem: str) -> str:
    """Of the first certificate, as HAProxy tells it."""
    der = ssl.PEM_cert_to_DER_cert(pem[: pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)])
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CertificateError(f"cannot read the certificate {path}: {why}") from None
    if len(data) > MOST_BYTES:
        raise CertificateError(f"{path} is too large for a certificate")
    return data


def _key_block(data: bytes) -> bytes:
    lines = data.splitlines()
    begins = [at for at, line in enumerate(lines) if line.rstrip().endswith(b"PRIVATE KEY-----")]
    if len(begins) < 2:
        raise ValueError("no private key")
    block = lines[begins[0] : begins[1] + 1]
    return b"".join(line.strip() + b"\n" for line in block if line.strip())
