"""What an image is made for: its operating system, processor, C library and Python."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

from registry.errors import InvalidSourceError

Architecture = Literal["amd64", "arm64"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
_MACHINES: dict[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Platform:
    """An OCI platform; the operating system is always Linux."""

    architecture: Architecture = "amd64"

    @property
    def machine(self) -> str:
        """As uname and wheels spell it: x86_64, aarch64."""
        return _MACHINES[self.architecture]

    def __str__(self) -> str:
        return f"linux/{self.architecture}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where an image's Python packages run: ``python`` as (3, 11), ``glibc`` as (2, 36)."""

    platform: Platform
    python: tuple[int, int]
    glibc: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{self.platform}, Python {self.python[0]}.{self.python[1]},"
            f" glibc {self.glibc[0]}.{self.glibc[1]}"
        )


def this_platform() -> Platform:
    """This machine's, or amd64 where images are made for neither."""
    machine = os.uname().machine
    return Platform(next((name for name, known in _MACHINES.items() if known == machine), "amd64"))


def parse_platform(text: str) -> Platform:
    """``linux/amd64`` or ``linux/arm64``. Raises InvalidSourceError."""
    system, _, architecture = text.partition("/")
    if system != "linux" or architecture not in ARCHITECTURES:
        known = " and ".join(f"linux/{name}" for name in ARCHITECTURES)
        raise InvalidSourceError(f"platform {ascii(text)[:60]} is not known; there are {known}")
    return Platform(architecture)
