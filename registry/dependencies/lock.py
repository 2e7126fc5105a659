"""The locked packages of an image: for each one wheel that runs on the target, with its hash.

Read from a PEP 751 lock; what is no wheel, does not fit or looks wrong is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeGuard
from urllib.parse import unquote, urlsplit, urlunsplit

from registry.dependencies.standards import (
    best_wheel,
    canonical_name,
    canonical_version,
    wheel_name,
)
from registry.errors import InvalidSourceError, RequirementsError
from registry.platforms import Target, parse_platform

MAX_PACKAGES = 2_000
MAX_WHEEL_BYTES = 8 * 1024**3
FORM = 1
_DAMAGE = (KeyError, TypeError, ValueError, IndexError, RecursionError)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,250}\.whl")


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """One wheel; ``url`` is where it is had, without a user or password."""

    name: str
    version: str
    file: str
    sha256: str
    size_bytes: int | None
    url: str


@dataclass(frozen=True, slots=True)
class Lock:
    """The wheels of one image, sorted by name."""

    target: Target
    wheels: tuple[LockedWheel, ...]

    def text(self) -> str:
        """As a requirements file with hashes; it has no URL, since it goes into the image."""
        return "".join(
            f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in self.wheels
        )

    @property
    def digest(self) -> str:
        """Of the text."""
        return f"sha256:{hashlib.sha256(self.text().encode()).hexdigest()}"

    def to_json(self) -> str:
        """To keep it; ``from_json`` reads it back."""
        document = {
            "form": FORM,
            "platform": str(self.target.platform),
            "python": self.target.python,
            "glibc": self.target.glibc,
            "wheels": [
                [wheel.name, wheel.version, wheel.file, wheel.sha256, wheel.size_bytes, wheel.url]
                for wheel in self.wheels
            ],
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Lock:
        """Raises RequirementsError for anything that ``to_json`` does not write."""
        try:
            document = json.loads(text)
            if document["form"] != FORM:
                raise ValueError("another form")
            python, glibc = (tuple(map(int, document[key])) for key in ("python", "glibc"))
            target = Target(
                parse_platform(document["platform"]), (python[0], python[1]), (glibc[0], glibc[1])
            )
            wheels = [_checked(LockedWheel(*fields)) for fields in document["wheels"]]
        except (*_DAMAGE, InvalidSourceError) as error:
            raise RequirementsError("the stored lock is damaged; lock anew with --relock") from (
                error
            )
        return make_lock(target, wheels)


def make_lock(target: Target, wheels: Sequence[LockedWheel]) -> Lock:
    """Sorted; refuses two versions of one package with RequirementsError."""
    ordered = sorted(wheels, key=lambda wheel: wheel.name)
    for one, other in pairwise(ordered):
        if one.name == other.name:
            raise RequirementsError(f"the lock has {one.name} twice")
    return Lock(target, tuple(ordered))


def read_pylock(text: str, target: Target, hashes: Mapping[str, frozenset[str]]) -> Lock:
    """The lock that a pylock.toml describes; ``hashes`` are those that someone demands, by name.
    Raises RequirementsError."""
    try:
        packages = tomllib.loads(text).get("packages", [])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequirementsError("the resolver's lock is no TOML; try again") from error
    if not _is_tables(packages) or len(packages) > MAX_PACKAGES:
        raise RequirementsError(f"the lock has no packages, or more than {MAX_PACKAGES}")
    return make_lock(target, [_wheel(package, target, hashes) for package in packages])


def _wheel(
    package: dict[str, Any], target: Target, hashes: Mapping[str, frozenset[str]]
) -> LockedWheel:
    """The best wheel of one package."""
    name = canonical_name(_string(package, "name", "the lock"))
    version = _string(package, "version", name)
    wheels = package.get("wheels", [])
    if not _is_tables(wheels) or not wheels:
        raise RequirementsError(
            f"{name} {version} has no wheel; packages without one need --dockerfile"
        )
    found = list(_locked(name, version, wheels))
    demanded = hashes.get(name)
    if demanded:
        found = [wheel for wheel in found if wheel.sha256 in demanded]
    best = best_wheel([wheel.file for wheel in found], target)
    if best is None and demanded:
        raise RequirementsError(
            f"no wheel of {name} {version} for {target} has a hash that the requirements demand"
        )
    if best is None:
        raise RequirementsError(f"{name} {version} has no wheel for {target}")
    return next(wheel for wheel in found if wheel.file == best)


def _locked(name: str, version: str, wheels: list[dict[str, Any]]) -> Iterator[LockedWheel]:
    for wheel in wheels:
        url = _without_user(_string(wheel, "url", name))
        file = wheel.get("name", unquote(urlsplit(url).path).rpartition("/")[2])
        digests = wheel.get("hashes")
        sha256 = digests.get("sha256") if isinstance(digests, dict) else None
        if sha256 is None:
            raise RequirementsError(f"the lock has no sha256 for {name} {version}")
        yield _checked(LockedWheel(name, version, file, sha256, wheel.get("size"), url))


def _checked(wheel: LockedWheel) -> LockedWheel:
    """Raises RequirementsError for fields that are not what they say."""
    for text in (wheel.name, wheel.version, wheel.file, wheel.sha256, wheel.url):
        if not isinstance(text, str):
            raise RequirementsError("the lock has a field that is no text")
    if not _FILE.fullmatch(wheel.file) or not _SHA256.fullmatch(wheel.sha256):
        raise RequirementsError(
            f"the lock has a wheel {ascii(wheel.file)[:80]} with a name or hash that cannot be"
        )
    size = wheel.size_bytes
    is_size = size is None or (type(size) is int and 0 < size <= MAX_WHEEL_BYTES)
    if not is_size or urlsplit(wheel.url).scheme not in ("https", "http", "file"):
        raise RequirementsError(f"the lock has a size or URL of {wheel.name} that cannot be")
    try:
        said = wheel_name(wheel.file)
        is_it = (said.name, said.version) == (wheel.name, canonical_version(wheel.version))
    except ValueError:
        is_it = False
    if not is_it:
        raise RequirementsError(
            f"the lock has {wheel.file} for {ascii(wheel.name)[:80]} {ascii(wheel.version)[:40]}"
        )
    return wheel


def _without_user(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise RequirementsError("the lock has a URL that cannot be") from error
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _string(table: dict[str, Any], key: str, what: str) -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise RequirementsError(f"{what} has no {key}; only wheels of an index can be locked")
    return value


def _is_tables(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
