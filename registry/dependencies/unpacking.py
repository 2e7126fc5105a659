"""What wheels install, as the entries of a layer: the same for the same wheels, in any order.

Below PACKAGES_ROOT lie purelib, platlib and ``data`` (as pip install --target does it); headers are
left out, since nothing is compiled in an image; scripts and entry points go to SCRIPTS_ROOT. No
.pyc is made. RECORD is written anew for what is installed, with INSTALLER.

PYTHONPATH comes before the standard library, site-packages after it: so a top-level module that the
library has is left out, as Python would never have imported it. Paths that differ in case only are
fine, the image is Linux's. Two wheels may share a file with equal bytes, or the ``__init__.py`` of
a namespace; any other is refused, as the result would depend on the order.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from registry.dependencies.scripts import check_python_path, entry_point_scripts, with_python
from registry.dependencies.wheel_file import Member, WheelFile
from registry.errors import RequirementsError
from registry.image_tree import PACKAGES_ROOT, SCRIPTS_ROOT
from registry.layers import Entry, bytes_entry

SERVER_PACKAGE = "scoring"
INSTALLER = b"inferry\n"
MAX_SCRIPT_BYTES = 64 * 1024
"""A larger one is a program."""
MAX_NAMESPACE_BYTES = 4096
_REMOVED = """
    aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap
    msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib
"""
REMOVED_FROM_LIBRARY = frozenset(_REMOVED.split())
"""Some Python since 3.11 lacks them, and packages bring them back."""
_NAMESPACE = re.compile(rb"extend_path|declare_namespace")
_DIST_INFO_LEFT_OUT = frozenset(["RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED"])
_MODULE_FILE = re.compile(r"([A-Za-z_]\w*)(?:\.py|(?:\.[\w-]+)?\.so)")
_NOT_IMPORTED = frozenset(["test", "tests", "testing", "doc", "docs", "example", "examples"])


@dataclass(frozen=True, slots=True)
class Installed:
    """One file that a wheel installs."""

    entry: Entry
    hashed: str
    wheel: WheelFile
    member: Member | None = None


def wheel_entries(paths: Iterable[Path], python_path: str) -> list[Entry]:
    """The entries of all wheels, sorted. Their bytes are read, and compared with RECORD, when an
    entry is. Raises RequirementsError, naming the wheel."""
    check_python_path(python_path)
    wheels = _opened(paths)
    found: dict[str, Installed] = {}
    for wheel in wheels:
        for installed in _installed(wheel, python_path):
            path = installed.entry.path
            other = found.setdefault(path, installed)
            if other is not installed and not _are_equal(other, installed):
                raise RequirementsError(
                    f"{other.wheel.file} and {wheel.file} both install"
                    f" {path.removeprefix(PACKAGES_ROOT + '/')}, with other bytes; leave one out"
                )
    _check_folders(found)
    return [found[path].entry for path in sorted(found)]


def top_level_modules(paths: Iterable[Path]) -> dict[str, list[str]]:
    """What can be imported of each distribution: its top-level packages and modules, and of
    namespaces (``google``) the packages in them."""
    return {wheel.name: _modules(_library_paths(wheel)) for wheel in _opened(paths)}


def _opened(paths: Iterable[Path]) -> list[WheelFile]:
    wheels = sorted(map(WheelFile, paths), key=lambda wheel: wheel.name)
    for one, other in pairwise(wheels):
        if one.name == other.name:
            raise RequirementsError(f"{one.file} and {other.file} are of one package")
    return wheels


def _installed(wheel: WheelFile, python_path: str) -> Iterator[Installed]:
    """The files of one wheel, with its RECORD, which lists the others."""
    files = [*_files(wheel, python_path), *_commands(wheel, python_path)]
    files.append(_made(wheel, f"{PACKAGES_ROOT}/{wheel.dist_info}/INSTALLER", INSTALLER))
    yield from files
    yield _record(wheel, files)


def _files(wheel: WheelFile, python_path: str) -> Iterator[Installed]:
    for member in wheel.members.values():
        folder, _, name = member.path.rpartition("/")
        if folder == wheel.dist_info and name in _DIST_INFO_LEFT_OUT:
            continue
        scheme, path = _placed(wheel, member.path)
        if scheme == "scripts":
            yield _script(wheel, member, path, python_path)
        elif scheme != "headers" and not _is_in_library(_top(path)):
            _check_top(wheel, path)
            yield _streamed(wheel, member, f"{PACKAGES_ROOT}/{path}", member.is_executable)


def _script(wheel: WheelFile, member: Member, name: str, python_path: str) -> Installed:
    """A program as it is, or a script for the image's Python."""
    if "/" in name:
        raise RequirementsError(f"{wheel.file} has a script {name} that cannot be")
    path = f"{SCRIPTS_ROOT}/{name}"
    if member.size_bytes > MAX_SCRIPT_BYTES:
        return _streamed(wheel, member, path, True)
    data = with_python(wheel.read_checked(member), python_path)
    return _made(wheel, path, data, is_executable=True)


def _commands(wheel: WheelFile, python_path: str) -> Iterator[Installed]:
    path = f"{wheel.dist_info}/entry_points.txt"
    if not wheel.has(path):
        return
    text = wheel.read_checked(wheel.members[path]).decode("utf-8", "replace")
    scripts = dict(entry_point_scripts(text, python_path, wheel.file))
    for name, data in scripts.items():
        yield _made(wheel, f"{SCRIPTS_ROOT}/{name}", data, is_executable=True)


def _placed(wheel: WheelFile, path: str) -> tuple[str, str]:
    """Scheme and path in it of a wheel's member."""
    if not path.startswith(f"{wheel.data}/"):
        return "purelib", path
    scheme, _, rest = path.removeprefix(f"{wheel.data}/").partition("/")
    if scheme not in ("purelib", "platlib", "data", "scripts", "headers") or not rest:
        raise RequirementsError(f"{wheel.file} has {path}, which has no known place")
    return scheme, rest


def _library_paths(wheel: WheelFile) -> list[str]:
    placed = (_placed(wheel, path) for path in wheel.members)
    return [path for scheme, path in placed if scheme in ("purelib", "platlib")]


def _check_top(wheel: WheelFile, path: str) -> None:
    if _top(path) == SERVER_PACKAGE:
        raise RequirementsError(
            f"{wheel.file} installs a module '{SERVER_PACKAGE}', which is the name of the server in"
            " the image; leave it out"
        )


def _is_in_library(module: str) -> bool:
    """Whether the standard library has it, which then is the one that is imported."""
    return module in sys.stdlib_module_names and module not in REMOVED_FROM_LIBRARY


def _top(path: str) -> str:
    """The top-level module of a path, if it is of one."""
    first, slash, _ = path.partition("/")
    match = _MODULE_FILE.fullmatch(first)
    return first if slash else match[1] if match else ""


def _record(wheel: WheelFile, files: Sequence[Installed]) -> Installed:
    """RECORD with paths from the packages' folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    path = f"{wheel.dist_info}/RECORD"
    rows = {file.entry.path: (file.hashed, file.entry.size_bytes) for file in files}
    for place in sorted(rows):
        writer.writerow([_from_packages(place), *rows[place]])
    writer.writerow([path, "", ""])
    return _made(wheel, f"{PACKAGES_ROOT}/{path}", text.getvalue().encode())


def _from_packages(path: str) -> str:
    if path.startswith(f"{PACKAGES_ROOT}/"):
        return path.removeprefix(f"{PACKAGES_ROOT}/")
    return f"../{path.removeprefix(PACKAGES_ROOT.rpartition('/')[0] + '/')}"


def _streamed(wheel: WheelFile, member: Member, path: str, is_executable: bool) -> Installed:
    entry = Entry(path, member.size_bytes, partial(wheel.open, member), is_executable)
    return Installed(entry, _record_hash(member.algorithm, member.digest), wheel, member)


def _made(wheel: WheelFile, path: str, data: bytes, *, is_executable: bool = False) -> Installed:
    hashed = _record_hash("sha256", hashlib.sha256(data).hexdigest())
    return Installed(bytes_entry(path, data, is_executable=is_executable), hashed, wheel)


def _record_hash(algorithm: str, digest: str) -> str:
    value = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")
    return f"{algorithm}={value}"


def _are_equal(one: Installed, other: Installed) -> bool:
    """Equal bytes, or both the start of one namespace."""
    if one.hashed == other.hashed and one.entry.is_executable == other.entry.is_executable:
        return True
    return one.entry.path.endswith("/__init__.py") and all(map(_is_namespace, (one, other)))


def _is_namespace(installed: Installed) -> bool:
    member = installed.member
    if member is None or member.size_bytes > MAX_NAMESPACE_BYTES:
        return False
    return bool(_NAMESPACE.search(installed.wheel.read_checked(member)))


def _check_folders(found: Mapping[str, Installed]) -> None:
    """A path cannot be a file and a folder."""
    for path, installed in found.items():
        parts = path.split("/")
        for count in range(1, len(parts)):
            other = found.get("/".join(parts[:count]))
            if other is not None:
                raise RequirementsError(
                    f"{other.wheel.file} installs a file where {installed.wheel.file} has a folder:"
                    f" {other.entry.path.removeprefix(PACKAGES_ROOT + '/')}"
                )


def _modules(paths: Iterable[str]) -> list[str]:
    """Names to import: modules at the top, and packages whose parents are no packages."""
    packages = {
        path.rpartition("/")[0]
        for path in paths
        if re.fullmatch(r"(.*/)?__init__\.(py|.*\.so)", path) and "/" in path
    }
    folders = {
        path for path in packages if not any(parent in packages for parent in _parents(path))
    }
    files = {path for path in paths if "/" not in path}
    tops = {_top(path) for path in files} | {path.replace("/", ".") for path in folders}
    usable = sorted(name for name in tops if _is_importable(name))
    public = [name for name in usable if not name.startswith("_")]
    return public or usable


def _is_importable(name: str) -> bool:
    parts = name.split(".")
    return (
        all(part.isidentifier() for part in parts)
        and not _NOT_IMPORTED & set(parts)
        and not _is_in_library(parts[0])
    )


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
