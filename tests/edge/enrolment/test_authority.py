"""The authority: what it issues, what it revokes, what a crash leaves."""

from __future__ import annotations

import datetime
import ipaddress
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.enrolment import Authority, authority, certificates
from edge.enrolment.certificates import is_renewal_due, read_certificate
from edge.enrolment.files import write_whole
from edge.errors import EnrolmentError, InvalidSpecError, NotFoundError

NOW = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def at(folder: Path) -> Authority:
    return Authority.load_or_create(folder, now=lambda: NOW)


def revoked(found: Authority) -> set[int]:
    return {one.serial_number for one in x509.load_pem_x509_crl(found.revocations)}


def test_it_is_made_once_and_found_again(tmp_path: Path) -> None:
    assert at(tmp_path / "ca").pem == at(tmp_path / "ca").pem


def test_its_key_is_for_its_owner_only(tmp_path: Path) -> None:
    at(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca/ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def test_a_device_s_certificate_says_who_it_is_and_serves_for_nothing_else(tmp_path: Path) -> None:
    issuer = at(tmp_path)
    found = read_certificate(issuer.issue_device("press-7").certificate)
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["press-7"]
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key = found.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    found.verify_directly_issued_by(read_certificate(issuer.pem))


def test_the_broker_s_has_its_names_and_addresses(tmp_path: Path) -> None:
    found = read_certificate(
        at(tmp_path).issue_broker(["hub.example", "10.0.0.7", "::1"]).certificate
    )
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.example"]
    addresses = [ipaddress.ip_address("10.0.0.7"), ipaddress.ip_address("::1")]
    assert names.get_values_for_type(x509.IPAddress) == addresses


@pytest.mark.parametrize("name", ["", "a b", "https://hub", "hub:8883", "x" * 300, "hüb"])
def test_what_is_no_host_cannot_be_the_broker_s_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(EnrolmentError):
        at(tmp_path).issue_broker([name])


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "A", "../x", "a\n", "a" * 64, "ü"])
def test_names_that_would_be_filters_or_paths_are_no_devices(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidSpecError):
        at(tmp_path).issue_device(name)


@pytest.mark.parametrize("name", ["hub", "broker"])
def test_no_device_gets_a_name_with_other_rights(tmp_path: Path, name: str) -> None:
    with pytest.raises(EnrolmentError):
        at(tmp_path).issue_device(name)


def test_all_certificates_of_a_name_are_revoked_and_no_others(tmp_path: Path) -> None:
    issuer = at(tmp_path)
    of_a = [read_certificate(issuer.issue_device("a").certificate) for _ in range(2)]
    issuer.issue_device("a.b")
    assert revoked(issuer) == set()
    assert issuer.revoke("a") == 2
    assert issuer.revoke("a") == 0
    assert revoked(issuer) == {one.serial_number for one in of_a}
    again = read_certificate(issuer.issue_device("a").certificate)
    assert again.serial_number not in revoked(issuer)
    assert issuer.revoke("a") == 1


def test_files_that_somebody_left_there_keep_nobody_in(tmp_path: Path) -> None:
    issuer = at(tmp_path)
    issuer.issue_device("a")
    (tmp_path / "issued/a.backup.pem").write_bytes(b"")
    (tmp_path / "revoked").mkdir()
    (tmp_path / "revoked/README").write_bytes(b"")
    assert issuer.revoke("a") == 1


def test_a_revocation_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    issuer = at(tmp_path)
    issuer.issue_device("a")
    (tmp_path / "revoked").write_bytes(b"in the way")
    with pytest.raises(EnrolmentError, match="'a' may not be revoked yet"):
        issuer.revoke("a")


def test_an_unknown_name_cannot_be_revoked(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        at(tmp_path).revoke("a")


def test_the_list_of_revoked_holds_as_long_as_the_authority(tmp_path: Path) -> None:
    issuer = at(tmp_path)
    found = x509.load_pem_x509_crl(issuer.revocations)
    assert found.next_update_utc == read_certificate(issuer.pem).not_valid_after_utc
    assert found.is_signature_valid(read_certificate(issuer.pem).public_key())  # type: ignore[arg-type]


def test_openssl_agrees(tmp_path: Path) -> None:
    issuer = Authority.load_or_create(tmp_path)
    good, bad = issuer.issue_device("good"), issuer.issue_device("bad")
    issuer.revoke("bad")

    def verify(certificate: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "one.pem").write_bytes(certificate)
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-crl_check"]
        files = ["-CAfile", "ca.pem", "-CRLfile", "crl.pem", "one.pem"]
        return subprocess.run(
            [*command, *files],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert verify(good.certificate).stdout == "one.pem: OK\n"
    assert "certificate revoked" in verify(bad.certificate).stderr


def test_renewal_is_due_after_two_thirds_of_a_life(tmp_path: Path) -> None:
    found = read_certificate(at(tmp_path).issue_device("a").certificate)
    life = found.not_valid_after_utc - found.not_valid_before_utc
    due = found.not_valid_before_utc + life * 2 / 3
    assert not is_renewal_due(found, due - datetime.timedelta(seconds=2))
    assert is_renewal_due(found, due + datetime.timedelta(seconds=2))
    assert not is_renewal_due(found, datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_crash_while_it_is_made_leaves_none_or_all(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def dies(path: Path, data: bytes, mode: int) -> None:
        if len(written) == step - 1:
            raise KeyboardInterrupt
        written.append(path)
        write_whole(path, data, mode)

    monkeypatch.setattr(authority, "write_whole", dies)
    with pytest.raises(KeyboardInterrupt):
        at(tmp_path)
    monkeypatch.undo()
    assert at(tmp_path).pem == at(tmp_path).pem
    at(tmp_path).issue_device("a")


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    at(tmp_path / "a")
    at(tmp_path / "b")
    (tmp_path / "a/ca.key").write_bytes((tmp_path / "b/ca.key").read_bytes())
    with pytest.raises(EnrolmentError, match="do not belong together"):
        at(tmp_path / "a")


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
def test_damaged_files_are_one_clear_line(tmp_path: Path, name: str) -> None:
    at(tmp_path)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(EnrolmentError, match="damaged"):
        at(tmp_path)


def test_keys_are_new_each_time() -> None:
    assert certificates.key_pem(certificates.new_key()) != certificates.key_pem(
        certificates.new_key()
    )
