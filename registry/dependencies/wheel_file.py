"""Reading one wheel without trusting it: every name, size and hash is checked before or while its
bytes are used.

What is refused: names that leave their folder or cannot be shown, links and devices, names that
are there twice, encrypted members, sizes that only a bomb has, files that RECORD does not list or
lists otherwise, and a wheel of another package than its name says.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from registry.dependencies.standards import canonical_name, canonical_version, wheel_name
from registry.errors import RequirementsError

MAX_MEMBERS = 200_000
MAX_UNPACKED_BYTES = 16 * 1024**3
MAX_RATIO = 200
FREE_BYTES = 32 * 1024 * 1024
"""A wheel that unpacks to less may have any ratio."""
MAX_METADATA_BYTES = 16 * 1024 * 1024
MAX_PATH_CHARS = 1024
MAX_PART_BYTES = 255
DEFLATED_OR_STORED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
HASHES = ("sha256", "sha384", "sha512")
_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a wheel, as its RECORD describes it."""

    path: str
    size_bytes: int
    algorithm: str
    digest: str
    is_executable: bool


class WheelFile:
    """An open wheel. It stays open as long as something refers to it, since reading its
    directory again for each of its files would take far longer than the files."""

    def __init__(self, path: Path) -> None:
        self.file = path.name
        try:
            said = wheel_name(path.name)
            self._zip = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or "it is no wheel"
            raise RequirementsError(f"cannot read {ascii(path.name)[:120]}: {reason}") from error
        self.name, self.version = said.name, said.version
        self._infos = self._checked_infos(path.stat().st_size)
        self.dist_info = self._find_dist_info()
        self.data = f"{self.dist_info.removesuffix('.dist-info')}.data"
        self._check_metadata()
        self.members = self._read_record()

    def read(self, path: str) -> bytes:
        """All of a small file. Raises RequirementsError."""
        info = self._infos.get(path)
        if info is None:
            raise self._error(f"has no {path}")
        if info.file_size > MAX_METADATA_BYTES:
            raise self._error(f"has a {path} of {info.file_size} bytes")
        with self._said(path), self._zip.open(info) as file:
            return file.read()

    def has(self, path: str) -> bool:
        """Whether the wheel has this file."""
        return path in self._infos

    @contextmanager
    def open(self, member: Member) -> Iterator[CheckedFile]:
        """The member's bytes; reading the last of them raises RequirementsError unless all are as
        RECORD says."""
        with self._said(member.path), self._zip.open(self._infos[member.path]) as file:
            yield CheckedFile(file, member, self.file)

    def read_checked(self, member: Member) -> bytes:
        """All of a member, checked."""
        with self.open(member) as file:
            return file.read(member.size_bytes)

    def _checked_infos(self, wheel_bytes: int) -> dict[str, zipfile.ZipInfo]:
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(infos) > MAX_MEMBERS:
            raise self._error(f"has {len(infos)} files, more than {MAX_MEMBERS}")
        unpacked = sum(info.file_size for info in infos)
        packed = sum(info.compress_size for info in infos)
        is_bomb = unpacked > FREE_BYTES and unpacked > MAX_RATIO * wheel_bytes
        if is_bomb or unpacked > MAX_UNPACKED_BYTES or packed > wheel_bytes:
            raise self._error(f"would unpack to {unpacked} bytes from {wheel_bytes}")
        found: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            complaint = _complaint(info)
            if complaint:
                raise self._error(f"has {ascii(info.orig_filename)[:120]}, {complaint}")
            if info.is_dir():
                continue
            if info.filename in found:
                raise self._error(f"has {info.filename} twice")
            found[info.filename] = info
        return found

    def _find_dist_info(self) -> str:
        tops = {path.split("/")[0] for path in self._infos}
        found = sorted(top for top in tops if top.lower().endswith(".dist-info"))
        datas = [top for top in tops if top.lower().endswith(".data")]
        if len(found) != 1:
            raise self._error(f"has {len(found)} .dist-info folders, not one")
        name, _, version = found[0].removesuffix(".dist-info").partition("-")
        if not self._is_it(name, version) or not found[0].endswith(".dist-info"):
            raise self._error(f"has the .dist-info of another package: {found[0]}")
        expected = f"{found[0].removesuffix('.dist-info')}.data"
        if any(top != expected for top in datas):
            raise self._error(f"has the .data folder of another package: {min(datas)}")
        return found[0]

    def _check_metadata(self) -> None:
        headers = _headers(self.read(f"{self.dist_info}/METADATA"))
        if not self._is_it(headers.get("name", ""), headers.get("version", "")):
            name = ascii(headers.get("name", ""))[:60]
            raise self._error(f"says in METADATA that it is {name}, another package or version")
        form = _headers(self.read(f"{self.dist_info}/WHEEL")).get("wheel-version", "")
        if form.split(".")[0] != "1":
            raise self._error(f"has the form {ascii(form)[:20]}, which is not known")

    def _is_it(self, name: str, version: str) -> bool:
        try:
            is_version = canonical_version(version.replace("_", "-")) == self.version
        except ValueError:
            return False
        return canonical_name(name) == self.name and is_version

    def _read_record(self) -> dict[str, Member]:
        """The files by path: exactly those of RECORD."""
        record = f"{self.dist_info}/RECORD"
        unhashed = {f"{self.dist_info}/{name}" for name in _UNHASHED}
        try:
            text = self.read(record).decode("utf-8")
            rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise self._error("has a RECORD that cannot be read") from error
        members: dict[str, Member] = {}
        for row in rows:
            path = row[0]
            if path in unhashed or path.endswith("/"):
                continue
            info = self._infos.get(path)
            if info is None or path in members or len(row) != 3:
                raise self._error(f"lists {ascii(path)[:120]} in RECORD, which is not there once")
            members[path] = self._member(info, row[1], row[2])
        extra = sorted(self._infos.keys() - members.keys() - unhashed)
        if extra:
            raise self._error(f"has {extra[0]}, which is not in its RECORD")
        return members

    def _member(self, info: zipfile.ZipInfo, hashed: str, size: str) -> Member:
        path = info.filename
        algorithm, _, value = hashed.partition("=")
        try:
            digest = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        except ValueError:
            digest = b""
        if algorithm not in HASHES or len(digest) != hashlib.new(algorithm).digest_size:
            raise self._error(f"has {path} without a sha256 in RECORD")
        if size and size != str(info.file_size):
            raise self._error(f"has {path} with another size than RECORD says")
        is_executable = bool(info.external_attr >> 16 & 0o111)
        return Member(path, info.file_size, algorithm, digest.hex(), is_executable)

    @contextmanager
    def _said(self, path: str) -> Iterator[None]:
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise self._error(f"has {path}, whose bytes are damaged") from error

    def _error(self, what: str) -> RequirementsError:
        return RequirementsError(f"{self.file} {what}; it cannot go into an image")


class CheckedFile:
    """Reads a member and compares it with RECORD when its last byte is read."""

    def __init__(self, file: IO[bytes], member: Member, wheel: str) -> None:
        self._file = file
        self._member = member
        self._wheel = wheel
        self._left = member.size_bytes
        self._hash = hashlib.new(member.algorithm)
        if not self._left:
            self._compare()

    def read(self, size: int = -1, /) -> bytes:
        """As of a file."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted) if wanted else b""
        if wanted and not data:
            self._refuse()
        self._hash.update(data)
        self._left -= len(data)
        if data and not self._left:
            self._compare()
        return data

    def _compare(self) -> None:
        if self._hash.hexdigest() != self._member.digest or self._file.read(1):
            self._refuse()

    def _refuse(self) -> None:
        raise RequirementsError(
            f"{self._wheel} has {self._member.path} with other bytes than its RECORD says;"
            " it cannot go into an image"
        )


def _complaint(info: zipfile.ZipInfo) -> str | None:
    complaint = path_complaint(info.orig_filename.removesuffix("/"))
    if complaint:
        return complaint
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind and not (stat.S_ISDIR(mode) if info.is_dir() else stat.S_ISREG(mode)):
        return "a link or device"
    if mode & (stat.S_ISUID | stat.S_ISGID):
        return "a file that would run as another user"
    if info.flag_bits & 0x41:
        return "which is encrypted"
    if info.compress_type not in DEFLATED_OR_STORED:
        return "which is compressed in an unusual way"
    return None


def path_complaint(path: str) -> str | None:
    """What is wrong with a path within a wheel."""
    parts = path.split("/")
    if "\\" in path or any(part in ("", ".", "..") for part in parts):
        return "a path that could leave its folder"
    if len(parts[0]) > 1 and parts[0][1] == ":":
        return "a path with a drive"
    for char in path:
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _DIRECTION:
            return "a path with a control character"
    if any(part.startswith(".wh.") for part in parts):
        return "a name that removes files of other layers"
    if len(path) > MAX_PATH_CHARS or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return "a path that is too long"
    return None


def _headers(data: bytes) -> dict[str, str]:
    """The headers before the first empty line; of each name the first."""
    found: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            found.setdefault(name.strip().lower(), value.strip())
    return found
