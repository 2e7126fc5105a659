"""A service over TLS; certificate files that cannot be used."""

from __future__ import annotations

import datetime
import http.client
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from runtime.balance import Balance, Service
from runtime.balance.certificate import certificate_text
from runtime.balance.errors import CertificateError
from tests.runtime.balance.conftest import Front, Servers, one_version
from tests.runtime.balance.load import wait_until

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    authority: trustme.CA
    path: Path


def issued(
    path: Path,
    authority: trustme.CA | None = None,
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
) -> Issued:
    authority = authority or trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", not_before=not_before, not_after=not_after)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    path.write_bytes(b"# a comment\n\n" + leaf.private_key_pem.bytes() + b"\n" + chain)
    return Issued(authority, path)


def asked(front: Front, authority: trustme.CA) -> tuple[int, bytes]:
    """Status, and the certificate that was shown."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    link = http.client.HTTPSConnection("127.0.0.1", front.port, timeout=10, context=context)
    try:
        link.request("POST", "/score", b"[1]")
        assert isinstance(link.sock, ssl.SSLSocket)
        shown = link.sock.getpeercert(binary_form=True)
        assert shown is not None
        return link.getresponse().status, shown
    finally:
        link.close()


@pytest.mark.slow
def test_a_certificate_is_renewed_while_it_runs(
    front: Front, servers: Servers, tmp_path: Path
) -> None:
    server = servers()
    old = issued(tmp_path / "cert.pem")
    path = str(old.path)
    front.apply(one_version(server), certificate=path)
    status, first = asked(front, old.authority)
    assert status == 200
    pid = front.balancer.keeper.pid
    assert front.apply(one_version(server), certificate=path) == "nothing"
    issued(old.path, old.authority)
    assert front.apply(one_version(server), certificate=path) == "commands"
    status, second = asked(front, old.authority)
    assert status == 200
    assert second != first
    assert front.balancer.keeper.pid == pid
    # And the next process has it too.
    wait_until(lambda: front.balancer.keeper.read("certificates/a.pem") is not None)
    front.balancer.stop(0)
    front.apply(one_version(server), certificate=path)
    assert asked(front, old.authority) == (200, second)
    front.apply(one_version(server))
    assert front.balancer.keeper.read("certificates/a.pem") is None  # the key is gone too


@pytest.mark.slow
def test_a_certificate_that_cannot_be_used_leaves_the_old_one(
    front: Front, servers: Servers, tmp_path: Path
) -> None:
    server = servers()
    good = issued(tmp_path / "cert.pem")
    front.apply(one_version(server), certificate=str(good.path))
    with pytest.raises(CertificateError):
        front.apply(one_version(server), certificate=str(tmp_path / "none.pem"))
    assert asked(front, good.authority)[0] == 200
    service = Service(
        "a", front.port, (one_version(server),), certificate=str(tmp_path / "none.pem")
    )
    with pytest.raises(CertificateError):
        front.balancer.apply(Balance((service,)), keep_certificates=["b"])
    front.balancer.apply(Balance((service,)), keep_certificates=["a"])
    assert asked(front, good.authority)[0] == 200
    with pytest.raises(ssl.SSLError):
        asked(front, trustme.CA())


def test_what_is_wrong_with_a_certificate_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"

    def refused(write: Callable[[], object], why: str) -> None:
        write()
        with pytest.raises(CertificateError, match=why) as refusal:
            certificate_text(path, NOW)
        assert len(str(refusal.value).splitlines()) == 1

    refused(lambda: None, "cannot read")
    refused(lambda: path.write_bytes(b""), "no certificate")
    refused(lambda: path.write_bytes(b"\xff" * 99), "no certificate")
    refused(lambda: path.write_bytes(b"x" * (2 << 20)), "too large")
    ca = trustme.CA()
    refused(lambda: ca.cert_pem.write_to_path(path), "no private key")
    other = ca.issue_cert("127.0.0.1")
    refused(
        lambda: path.write_bytes(ca.cert_pem.bytes() + other.private_key_pem.bytes()),
        "not its first certificate's",
    )
    refused(lambda: issued(path, not_before=NOW - 2 * DAY, not_after=NOW - DAY), "expired on 20")
    refused(lambda: issued(path, not_before=NOW + DAY), "begins on 20")
    issued(path)
    text = certificate_text(path, NOW)
    assert "#" not in text
    assert "\n\n" not in text
    assert text.count("BEGIN") == 2
    path.unlink()
    path.mkdir()
    refused(lambda: None, "cannot read")


def test_a_path_with_a_null_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CertificateError):
        certificate_text(tmp_path / "a\x00b", NOW)
