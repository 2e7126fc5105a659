"""X.509: the authority's certificate, those that it issues, and the list of revoked ones.

ECDSA on P-256: small handshakes, and every TLS stack of a device has it.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import EnrolmentError

Key = ec.EllipticCurvePrivateKey
AUTHORITY_LIFE = datetime.timedelta(days=20 * 365)
LIFE = datetime.timedelta(days=2 * 365)
EARLIER = datetime.timedelta(hours=1)
"""Certificates begin so long ago: clocks differ."""
RENEWED_AT = 2 / 3
"""Of its life, after which a certificate should be renewed."""


def new_key() -> Key:
    """A fresh one."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    """PKCS 8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_key(pem: bytes) -> Key:
    """Raises EnrolmentError."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise EnrolmentError("the authority's key is damaged; restore it from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EnrolmentError("the authority's key is of another kind")
    return key


def read_certificate(pem: bytes) -> x509.Certificate:
    """Raises EnrolmentError."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise EnrolmentError("a certificate is damaged") from error


def pem_of(certificate: x509.Certificate) -> bytes:
    """As PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def authority_certificate(key: Key, name: str, now: datetime.datetime) -> x509.Certificate:
    """Self-signed; it may sign certificates of ends, not of other authorities."""
    subject = _name(name)
    return (
        _builder(key, subject, subject, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def end_certificate(
    authority: x509.Certificate,
    authority_key: Key,
    key: Key,
    common_name: str,
    now: datetime.datetime,
    *,
    server_names: Sequence[str] = (),
) -> x509.Certificate:
    """Of a client; with ``server_names`` (DNS names and addresses) of a server. Raises
    EnrolmentError for a name that is none."""
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server_names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(key, _name(common_name), authority.subject, now, LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
    )
    if server_names:
        names = x509.SubjectAlternativeName([_general_name(each) for each in server_names])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def revocation_list(
    authority: x509.Certificate, key: Key, serials: Sequence[int], now: datetime.datetime
) -> bytes:
    """PEM. It holds as long as the authority: a broker refuses everyone once it has ended."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now - EARLIER)
        .next_update(authority.not_valid_after_utc)
    )
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def is_renewal_due(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    """After two thirds of its life. ``now`` should be the hub's time: a device's clock may lie."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begin + (end - begin) * RENEWED_AT


def _builder(
    key: Key,
    subject: x509.Name,
    issuer: x509.Name,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        if not text or len(text) > 253 or any(c in text for c in " /:@"):
            raise ValueError
        return x509.DNSName(text)
    except ValueError as error:
        raise EnrolmentError(f"{ascii(text)[:80]} is no host name and no address") from error
