"""A device's files for tests: agent.toml, identity, state folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.agent.config import AgentConfig, load

TOKEN = "ify_" + "t0ken" * 8
ENV_SECRET = "hunter2-of-the-module"


def make_device(
    folder: Path, name: str = "press-7", *, authority: trustme.CA | None = None, extra: str = ""
) -> AgentConfig:
    """Everything that enrolment leaves on a device."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    (folder / "agent.toml").write_text(
        f'device = "{name}"\nstate = "state"\n[broker]\nhost = "127.0.0.1"\nport = 1\n{extra}'
    )
    identity = folder / "identity"
    identity.mkdir(exist_ok=True)
    issue(identity, name)
    if authority is not None:
        authority.cert_pem.write_to_path(identity / "ca.pem")
    (identity / "registry-token").write_text(TOKEN + "\n")
    (identity / "signing.pub").write_bytes(
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return load(folder / "agent.toml")


def issue(
    identity: Path,
    name: str,
    *,
    begin: datetime | None = None,
    days: float = 365,
) -> None:
    """device.pem, device.key and ca.pem (the same certificate, of itself)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = begin or datetime.now(UTC) - timedelta(hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (identity / "device.pem").write_bytes(pem)
    (identity / "ca.pem").write_bytes(pem)
    (identity / "device.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (identity / "device.key").chmod(0o600)
