"""The workspace's own certificate authority for devices, hub and broker.

<folder>/
  ca.pem, ca.key          the authority; the key 0600
  crl.pem                 revoked certificates, for the broker
  issued/<name>.<hex>.pem every certificate that was issued, by name and serial number
  revoked/<hex>           serial numbers of revoked ones
"""

from __future__ import annotations

import datetime
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge.enrolment import certificates
from edge.enrolment.files import PLAIN, SECRET, write_whole
from edge.errors import EnrolmentError, NotFoundError
from edge.topics import check_device

HUB = "hub"
BROKER = "broker"
RESERVED = (HUB, BROKER)
"""Names that no device can have: the broker's rules know the hub by its name."""
_SERIAL = re.compile(r"[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM of a certificate and its key. Whoever has the key is ``name`` to the broker."""

    name: str
    certificate: bytes
    key: bytes


def utc_now() -> datetime.datetime:
    """The time of new certificates."""
    return datetime.datetime.now(tz=datetime.UTC)


class Authority:
    """Processes may share its folder."""

    def __init__(self, folder: Path, now: Callable[[], datetime.datetime] = utc_now) -> None:
        self.folder = folder
        self._now = now
        self._key = certificates.read_key(_read(folder / "ca.key"))
        self.pem = _read(folder / "ca.pem")
        self._certificate = certificates.read_certificate(self.pem)
        if self._certificate.public_key() != self._key.public_key():
            raise EnrolmentError(f"ca.key and ca.pem in '{folder}' do not belong together")

    @classmethod
    def load_or_create(cls, folder: Path, now: Callable[[], datetime.datetime] = utc_now) -> Self:
        """The authority of ``folder``, made if there is none. Raises EnrolmentError."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(folder):
                if not (folder / "ca.pem").exists():
                    _create(folder, now())
        except OSError as error:
            raise EnrolmentError(
                f"'{folder}' cannot be written: {error.strerror or error}"
            ) from error
        return cls(folder, now)

    def issue_device(self, name: str) -> Identity:
        """A new certificate; older ones of this device stay good until they are revoked. Raises
        InvalidSpecError, EnrolmentError."""
        if check_device(name) in RESERVED:
            raise EnrolmentError(f"no device can be called '{name}': choose another name")
        return self._issue(name)

    def issue_hub(self) -> Identity:
        """The hub's own."""
        return self._issue(HUB)

    def issue_broker(self, names: Sequence[str]) -> Identity:
        """A server's; ``names``: the host names and addresses by which devices and hub reach it."""
        if not names:
            raise EnrolmentError("the broker needs a host name or address: which do devices use?")
        return self._issue(BROKER, names)

    def revoke(self, name: str) -> int:
        """All certificates of the name; returns how many more are revoked now. The broker refuses
        them once it has read crl.pem again. Raises NotFoundError, EnrolmentError."""
        check_device(name)
        try:
            with _locked(self.folder):
                return self._revoke(name)
        except OSError as error:
            raise EnrolmentError(
                f"'{self.folder}' cannot be written: {error.strerror or error};"
                f" '{name}' may not be revoked yet"
            ) from error

    @property
    def revocations(self) -> bytes:
        """crl.pem."""
        return _read(self.folder / "crl.pem")

    def _issue(self, name: str, server_names: Sequence[str] = ()) -> Identity:
        key = certificates.new_key()
        certificate = certificates.end_certificate(
            self._certificate, self._key, key, name, self._now(), server_names=server_names
        )
        pem = certificates.pem_of(certificate)
        kept = self.folder / "issued" / f"{name}.{certificate.serial_number:x}.pem"
        try:
            write_whole(kept, pem, PLAIN)
        except OSError as error:
            raise EnrolmentError(f"'{kept}' cannot be written: {error.strerror}") from error
        return Identity(name, pem, certificates.key_pem(key))

    def _revoke(self, name: str) -> int:
        issued = set(self._issued(name))
        if not issued:
            raise NotFoundError(f"no certificate was issued to '{name}'")
        before = set(self._revoked())
        for serial in issued:
            write_whole(self.folder / "revoked" / f"{serial:x}", b"", PLAIN)
        self._write_crl()
        return len(issued - before)

    def _issued(self, name: str) -> Iterator[int]:
        """A name may have dots; the two last parts are ours."""
        for path in (self.folder / "issued").glob("*.pem"):
            whose, _, serial = path.name.removesuffix(".pem").rpartition(".")
            if whose == name and _SERIAL.fullmatch(serial):
                yield int(serial, 16)

    def _revoked(self) -> Iterator[int]:
        """A file that somebody left there stops nothing."""
        folder = self.folder / "revoked"
        if folder.is_dir():
            yield from (int(p.name, 16) for p in folder.iterdir() if _SERIAL.fullmatch(p.name))

    def _write_crl(self) -> None:
        found = certificates.revocation_list(
            self._certificate, self._key, sorted(self._revoked()), self._now()
        )
        write_whole(self.folder / "crl.pem", found, PLAIN)


def _create(folder: Path, now: datetime.datetime) -> None:
    """ca.pem last: with it the authority is there."""
    key = certificates.new_key()
    certificate = certificates.authority_certificate(key, "Inferry devices", now)
    write_whole(folder / "ca.key", certificates.key_pem(key), SECRET)
    write_whole(folder / "crl.pem", certificates.revocation_list(certificate, key, [], now), PLAIN)
    write_whole(folder / "ca.pem", certificates.pem_of(certificate), PLAIN)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnrolmentError(f"'{path}' cannot be read: {error.strerror}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
