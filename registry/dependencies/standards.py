"""What Python's packaging standards say of names, versions, requirements and wheels; the only
module that names ``packaging``, which it loads when first asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from registry.platforms import Target

if TYPE_CHECKING:
    from packaging.tags import Tag

MAX_PATCH = 64
"""Python has had no patch release above it."""
OLDEST_GLIBC = {"amd64": 5, "arm64": 17}
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement; ``text`` is its normal form without a URL."""

    name: str
    text: str
    has_url: bool


@dataclass(frozen=True, slots=True)
class WheelName:
    """What the name of a wheel's file says."""

    name: str
    version: str
    tags: frozenset[str]


def parse_requirement(text: str) -> Requirement:
    """Raises ValueError, saying in one line what is wrong."""
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        parsed = Parsed(text)
    except (InvalidRequirement, RecursionError) as error:
        raise ValueError(str(error).split("\n")[0] or "it is too deep") from error
    has_url = parsed.url is not None
    parsed.name = canonical_name(parsed.name)
    parsed.url = None
    return Requirement(parsed.name, str(parsed), has_url)


@lru_cache(maxsize=4096)
def canonical_name(name: str) -> str:
    """Lower case, with ``-`` for ``_`` and ``.`` (PEP 503)."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def canonical_version(text: str) -> str:
    """The version in its normal form. Raises ValueError."""
    from packaging.version import Version

    return str(Version(text))


def normal_specifier(text: str) -> str:
    """``>=3.10,<3.12`` in its normal form. Raises ValueError."""
    from packaging.specifiers import SpecifierSet

    return str(SpecifierSet(text))


def allows_python(specifier: str, python: tuple[int, int]) -> bool:
    """Whether a release of ``python`` (3, 11) exists that the specifier takes."""
    from packaging.specifiers import SpecifierSet

    wanted = SpecifierSet(specifier)
    return any(
        wanted.contains(f"{python[0]}.{python[1]}.{patch}", prereleases=True)
        for patch in range(MAX_PATCH)
    )


def wheel_name(file: str) -> WheelName:
    """Raises ValueError for the name of anything but a wheel."""
    from packaging.utils import parse_wheel_filename

    name, version, _, tags = parse_wheel_filename(file)
    return WheelName(name, str(version), frozenset(map(str, tags)))


@lru_cache(maxsize=16)
def tag_ranks(target: Target) -> dict[str, int]:
    """The tags of wheels that run on the target; the lower the number, the better it fits."""
    from packaging.tags import compatible_tags, cpython_tags

    platforms = list(_platforms(target))
    interpreter = f"cp{target.python[0]}{target.python[1]}"
    tags: list[Tag] = [
        *cpython_tags(target.python, abis=[interpreter], platforms=platforms),
        *compatible_tags(target.python, interpreter, platforms),
    ]
    ranks: dict[str, int] = {}
    for rank, tag in enumerate(tags):
        ranks.setdefault(str(tag), rank)
    return ranks


def best_wheel(files: Sequence[str], target: Target) -> str | None:
    """The file that fits best, or None when none fits. Raises ValueError for a name that is no
    wheel's."""
    ranks = tag_ranks(target)
    fitting = [
        (min(ranks[tag] for tag in known), file)
        for file in files
        if (known := wheel_name(file).tags & ranks.keys())
    ]
    return min(fitting)[1] if fitting else None


def _platforms(target: Target) -> Iterator[str]:
    machine = target.platform.machine
    for minor in range(target.glibc[1], OLDEST_GLIBC[target.platform.architecture] - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in LEGACY:
            yield f"{LEGACY[minor]}_{machine}"
    yield f"linux_{machine}"
