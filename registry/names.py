"""Which names, tags and references are allowed. Pure.

A name is 1 to 128 of ``A-Z a-z 0-9 . _ -``, starts with a letter or digit, does not end with a dot
and has no two dots in a row: safe as a path part, in a URL, in an OCI tag and in a shell.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import InvalidNameError

MAX_NAME_CHARS = 128
MAX_VALUE_CHARS = 256
MAX_PAIRS = 256
MAX_DESCRIPTION_CHARS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
RULE = "letters, digits, '.', '_' and '-', starting with a letter or digit"


@dataclass(frozen=True, slots=True)
class Reference:
    """``name``, ``name:version`` or ``name@alias``; neither means the latest version."""

    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        if self.alias is not None:
            return f"{self.name}@{self.alias}"
        return self.name if self.version is None else f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class TagQuery:
    """``key`` (has it, whatever the value) or ``key=value``."""

    key: str
    value: str | None = None


def check_name(name: str, what: str = "name") -> str:
    """``name`` itself. Raises InvalidNameError, saying what is wrong with it."""
    complaint = _complaint(name)
    if complaint:
        raise InvalidNameError(f"{what} {_shown(name)} {complaint}; allowed: {RULE}")
    return name


def parse_reference(text: str, what: str = "model") -> Reference:
    """``name``, ``name:latest`` or ``name:3``; of a model also ``name@alias``. Raises
    InvalidNameError."""
    name, at, alias = text.partition("@")
    if at and what == "model":
        return Reference(check_name(name, "model name"), alias=check_name(alias, "alias"))
    name, colon, version = text.partition(":")
    check_name(name, f"{what} name")
    if not colon or version == "latest":
        return Reference(name)
    if not _VERSION.fullmatch(version):
        raise InvalidNameError(f"{what} version {_shown(version)} is no number from 1 on")
    return Reference(name, int(version))


def parse_query(text: str) -> TagQuery:
    """``key`` or ``key=value``. Raises InvalidNameError."""
    key, equals, value = text.partition("=")
    return TagQuery(check_name(key, "tag"), value if equals else None)


def check_pairs(pairs: Mapping[str, str], what: str) -> dict[str, str]:
    """Tags or properties with valid keys and values. Raises InvalidNameError."""
    if len(pairs) > MAX_PAIRS:
        raise InvalidNameError(
            f"{len(pairs)} are too many ({what}); at most {MAX_PAIRS} are allowed"
        )
    for key, value in pairs.items():
        check_name(key, what)
        check_text(value, f"the value of {what} '{key}'", MAX_VALUE_CHARS)
    return dict(pairs)


def check_text(text: str, what: str, limit: int = MAX_DESCRIPTION_CHARS) -> str:
    """``text`` itself: at most ``limit`` characters, none that controls how a terminal shows it
    (control characters, surrogates, line separators, changes of direction). Line breaks and tabs
    are allowed in descriptions only. Raises InvalidNameError."""
    if not isinstance(text, str):
        raise InvalidNameError(f"{what} must be text, not {type(text).__name__}")
    if len(text) > limit:
        raise InvalidNameError(f"{what} has {len(text)} characters; at most {limit} are allowed")
    breaks = "\n\t" if limit == MAX_DESCRIPTION_CHARS else ""
    for char in text:
        is_control = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _DIRECTION
        if is_control and char not in breaks:
            raise InvalidNameError(f"{what} has the control character {char!a}")
    return text


def _complaint(name: str) -> str | None:
    if not name:
        return "is empty"
    if len(name) > MAX_NAME_CHARS:
        return f"has {len(name)} characters, more than {MAX_NAME_CHARS}"
    for char in name:
        if not char.isascii():
            return f"has {char!a} ({unicodedata.name(char, 'unnamed character')})"
    if not _NAME.fullmatch(name):
        bad = next((c for c in name if not re.fullmatch(r"[A-Za-z0-9._-]", c)), name[0])
        return f"has {bad!a} where it may not be"
    if ".." in name or name.endswith("."):
        return "has two dots in a row or ends with a dot"
    return None


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 60 else f"{text[:57]}...'"
