"""The command line that this process carries out now, for activities that can be begun again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

_words: ContextVar[tuple[str, ...]] = ContextVar("words", default=())


@contextmanager
def command_line(words: Sequence[str]) -> Iterator[None]:
    """``words`` are carried out in the block, without the program's name."""
    token = _words.set(tuple(words))
    try:
        yield
    finally:
        _words.reset(token)


def begun_here() -> AbstractContextManager[None]:
    """Activities of the block can be resumed with this command line. Not for commands that take
    secrets as arguments: it is kept."""
    words = _words.get()
    if not words:
        return nullcontext()
    from registry.activities.origin import CommandOrigin, begun_by  # not for --help

    return begun_by(CommandOrigin(words, os.getcwd()))


def again(words: Sequence[str], *options: str) -> list[str]:
    """The same with more options, which count instead of those that were given. Pure."""
    place = words.index("--") if "--" in words else len(words)
    return [*words[:place], *options, *words[place:]]
