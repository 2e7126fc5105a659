"""What an activity was begun with, so that one that failed can be begun again.

    with begun_by(CommandOrigin(("image", "create", "digits"), "/home/ann/digits")):
        workspace.images.create("digits", ...)       # its activity knows that it can be resumed

Whoever takes an order says so, far from where the activity is begun in the end: hence a context
variable, which holds for the block and the code that it calls. Orders that may have secrets in them
are not said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec

MAX_BYTES = 8 * 1024 * 1024
"""Of one order; a larger one is not kept, and its activity cannot be resumed."""


class CommandOrigin(msgspec.Struct, frozen=True, tag="command", tag_field="by"):
    """A command line, without the program's name, and the folder that it was given in."""

    words: tuple[str, ...]
    folder: str


class ServiceOrigin(msgspec.Struct, frozen=True, tag="service", tag_field="by"):
    """A route of the service by its name, and its arguments as JSON has them."""

    route: str
    arguments: dict[str, Any]


Origin = CommandOrigin | ServiceOrigin


@dataclass(frozen=True, slots=True)
class Begun:
    """``resumes``: the id of the activity that is begun again."""

    origin: Origin | None = None
    resumes: str | None = None


_PASSWORD = re.compile(
    r"(?::|//)[^\s\"/@]+@(?!sha256:)"  # user:password@host, scheme://token@host
    r"|[\"=][^\s\"/@]+@(?!sha256:)[^\s\"/@]+/"  # token@host/path, where a word or value begins
)
"""An order that has one is not kept."""
_NOTHING = Begun()
_begun: ContextVar[Begun] = ContextVar("begun", default=_NOTHING)


@contextmanager
def begun_by(origin: Origin) -> Iterator[None]:
    """Activities of the block are of this origin."""
    token = _begun.set(Begun(origin, _begun.get().resumes))
    try:
        yield
    finally:
        _begun.reset(token)


@contextmanager
def resuming(id: str) -> Iterator[None]:
    """Activities of the block, with an origin, begin this one again."""
    token = _begun.set(Begun(_begun.get().origin, id))
    try:
        yield
    finally:
        _begun.reset(token)


def begun() -> Begun:
    """Of the activity that begins now."""
    return _begun.get()


def encoded(origin: Origin) -> str | None:
    """As the database has it; None where it is too large, or names a file whose name is no text."""
    try:
        data = msgspec.json.encode(origin)
    except UnicodeEncodeError:
        return None
    text = data.decode()
    return None if len(data) > MAX_BYTES or _PASSWORD.search(text) else text


def decoded(text: str) -> Origin:
    """What ``encoded`` gave."""
    found: Origin = msgspec.json.decode(text, type=Origin)
    return found
