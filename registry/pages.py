"""Pages of a list that is long: how many, and the token that asks for those that follow. Pure.

A token says after which key the next page begins, so that what comes or goes meanwhile neither
repeats nor hides anything that stays. It belongs to one list.

    token_of("models", "digits", 3)    # what stands after digits:3
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from registry.errors import InvalidNameError

MAX_LIMIT = 1000
MAX_TOKEN_CHARS = 600
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, in its order; ``next_token`` asks for the next ones, if there are."""

    items: tuple[T, ...]
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """Some of a list, counted from its beginning, and how many there are in all."""

    items: tuple[T, ...]
    count: int


def check_limit(limit: int, what: str) -> int:
    """``limit`` itself. Raises InvalidNameError."""
    if not 0 < limit <= MAX_LIMIT:
        raise InvalidNameError(f"a page has 1 to {MAX_LIMIT} {what}, not {limit}")
    return limit


def check_count(limit: int | None) -> int | None:
    """``limit`` itself: of a list that is given whole, at most so many. Raises InvalidNameError."""
    if limit is not None and not 0 < limit < 2**31:
        raise InvalidNameError(f"a limit is a number from 1 on, not {limit}")
    return limit


def page_of(
    what: str, found: Sequence[T], limit: int, key: Callable[[T], tuple[str, int]]
) -> Page[T]:
    """The first ``limit`` of what was found, which is one more where others follow."""
    if len(found) <= limit:
        return Page(tuple(found))
    return Page(tuple(found[:limit]), token_of(what, *key(found[limit - 1])))


def token_of(what: str, *key: str | int) -> str:
    """Asks for what stands after ``key`` in the list ``what``."""
    data = json.dumps([what, *key], separators=(",", ":")).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def key_of(what: str, token: str, max_chars: int = MAX_TOKEN_CHARS) -> tuple[str, int]:
    """The key, a name and a version, in a token of the list ``what``; of a list of names alone the
    version is 0. Raises InvalidNameError."""
    try:
        if len(token) > max_chars:
            raise ValueError
        data = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        found, name, version = json.loads(data)
        if found != what or token_of(what, name, version) != token:
            raise ValueError
        if not isinstance(name, str) or type(version) is not int or not 0 <= version < 2**31:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        shown = ascii(token)[:60]
        raise InvalidNameError(f"{shown} is no page token of a list of {what}") from None
    return name, version
