"""What the function of a place returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Commands:
    """How the same is done elsewhere, a line each."""

    cli: str
    python: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page. ``trail``: the pages above it, each as title and address. ``section``: the
    entry of the navigation that it belongs to."""

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    section: str = ""
    trail: tuple[tuple[str, str], ...] = ()
    commands: Commands | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page, of a live place. ``is_over``: it will not change any more."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Go:
    """Look there next. ``note``: a word of template.NOTES, which is shown there."""

    address: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Go there, as the one with these grants (workspace: token's name and time)."""

    address: str
    grants: Mapping[str, tuple[str, float]]


@dataclass(frozen=True, slots=True)
class SignedOut:
    """Go there as nobody."""

    address: str


@dataclass(frozen=True, slots=True)
class File:
    """Bytes as they are: to be kept, unless ``media_type`` is of an image that is shown."""

    name: str
    size_bytes: int
    chunks: Iterator[bytes]
    media_type: str = ""

    def disposition(self) -> str:
        """Of the header Content-Disposition: nothing in a name ends the header."""
        plain = "".join(
            char if char.isascii() and (char.isalnum() or char in "._- ") else "_"
            for char in self.name
        )
        how = "inline" if self.media_type else "attachment"
        return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(self.name, safe='')}"


Answer = Page | Part | Go | SignedIn | SignedOut | File
