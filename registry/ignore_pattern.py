"""One line of an ignore file, as git reads it (gitignore(5), and wildmatch.c where that is silent).
Pure.

pathspec's GitIgnoreSpec is not used: of a folder that ``build/`` names, it keeps what lies below a
folder that ``!lib`` names, and ``?`` is a character to it, a byte to git. Something that git leaves
out must not be in an image.

Matching takes time in proportion to pattern times path, whatever the pattern: each part of a
pattern between two stars has a fixed length, so the first place where it fits is the best one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SPECIAL = frozenset(b"*?[\\")
_CLASSES = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"\x21-\x7e",
    b"lower": rb"a-z",
    b"print": rb"\x20-\x7e",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t\n\r\f\v",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}


class _NeverMatches(Exception):
    """git takes such a line for a pattern that nothing fits."""


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """A pattern: ``!`` in front brings back what an earlier one left out."""

    is_negated: bool
    is_for_folders: bool
    is_for_names: bool
    prefix: bytes
    parts: tuple[re.Pattern[bytes] | None, ...]

    def matches(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether it names just this ``path``, which is relative to the pattern's file, POSIX. What
        lies in a folder that it names is not asked for: nobody looks there."""
        if self.is_for_folders and not is_folder:
            return False
        text = path.rsplit(b"/", 1)[-1] if self.is_for_names else path
        if not text.startswith(self.prefix):
            return False
        rest = text[len(self.prefix) :]
        return _parts_match(self.parts, rest.split(b"/")) if self.parts else not rest


def parse_patterns(data: bytes) -> list[IgnorePattern]:
    """The patterns of an ignore file, in its order; comments and what never matches left out."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [found for line in lines if (found := _parse(line)) is not None]


def _parse(line: bytes) -> IgnorePattern | None:
    text = _without_spaces(line.removesuffix(b"\r").split(b"\0")[0])
    if not text or line.startswith(b"#"):
        return None
    is_negated = text.startswith(b"!")
    text = text.removeprefix(b"!")
    is_for_folders = text.endswith(b"/")
    text = text.removesuffix(b"/")
    is_for_names = b"/" not in text
    text = text.removeprefix(b"/")
    if not text:
        return None
    length = next((at for at, char in enumerate(text) if char in _SPECIAL), len(text))
    try:
        parts = tuple(_compiled(text[length:], is_for_names=is_for_names))
    except _NeverMatches:
        return None
    return IgnorePattern(is_negated, is_for_folders, is_for_names, text[:length], parts)


def _without_spaces(line: bytes) -> bytes:
    """Without spaces at the end, unless a backslash keeps them."""
    end = at = 0
    while at < len(line):
        char = line[at : at + 1]
        at += 2 if char == b"\\" else 1
        if char != b" ":
            end = at
    return line[:end]


def _compiled(text: bytes, *, is_for_names: bool) -> Iterator[re.Pattern[bytes] | None]:
    """The pattern between slashes; None stands for ``**``, any number of folders."""
    if not text:
        return
    for tokens in _split(list(_tokens(text))):
        if tokens == [_STARS] and not is_for_names:
            yield None
        else:
            yield _segment(tokens)


_STAR, _STARS, _SLASH = b"*", b"**", b"/"
"""Tokens with a meaning; all others are regular expressions of one byte."""


def _tokens(text: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(text):
        char = text[at : at + 1]
        if char == b"*":
            end = at + len(text[at:]) - len(text[at:].lstrip(b"*"))
            yield _STARS if end - at > 1 else _STAR
            at = end
        elif char == b"[":
            token, at = _set(text, at + 1)
            yield token
        elif char == b"\\":
            if at + 1 == len(text):
                raise _NeverMatches
            yield _one(text[at + 1 : at + 2])
            at += 2
        else:
            yield b"[^/]" if char == b"?" else _one(char)
            at += 1


def _one(char: bytes) -> bytes:
    return _SLASH if char == b"/" else re.escape(char)


def _set(text: bytes, at: int) -> tuple[bytes, int]:
    """``[...]`` from behind its bracket on, as a regular expression, and where it ends. The first
    byte belongs to the set even when it is a closing bracket."""
    is_negated = text[at : at + 1] in (b"!", b"^")
    at += is_negated
    inside, before, is_first = [], b"", True
    while is_first or text[at : at + 1] != b"]":
        is_first = False
        char, at, is_escaped = _set_char(text, at)
        following = text[at : at + 1]
        if char == b"-" and not is_escaped and before and following not in (b"", b"]"):
            last, at, _ = _set_char(text, at)
            if before <= last:
                inside.append(b"%b-%b" % (_in_set(before), _in_set(last)))
            before = b""
        elif (
            char == b"["
            and not is_escaped
            and following == b":"
            and (named := _named_class(text, at + 1))
        ):
            known, at = named
            inside.append(known)
            before = b""
        else:
            inside.append(_in_set(char))
            before = char
    members = b"".join(inside)
    if is_negated:
        return b"[^/%b]" % members, at + 1
    return b"(?!/)[%b]" % members, at + 1


def _set_char(text: bytes, at: int) -> tuple[bytes, int, bool]:
    is_escaped = text[at : at + 1] == b"\\"
    at += is_escaped
    if at >= len(text):
        raise _NeverMatches
    return text[at : at + 1], at + 1, is_escaped


def _named_class(text: bytes, at: int) -> tuple[bytes, int] | None:
    """``[:alpha:]`` from behind its colon on; None when it is no such thing."""
    end = text.find(b"]", at)
    if end < 0:
        raise _NeverMatches
    if end == at or text[end - 1 : end] != b":":
        return None
    known = _CLASSES.get(text[at : end - 1])
    if known is None:
        raise _NeverMatches
    return known, end + 1


def _in_set(char: bytes) -> bytes:
    return b"\\x%02x" % char[0]


def _split(tokens: Sequence[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for token in tokens:
        if token == _SLASH:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def _segment(tokens: Sequence[bytes]) -> re.Pattern[bytes]:
    """A part without slashes. What stands between two stars is taken where it first fits, and never
    tried again elsewhere."""
    runs: list[bytes] = [b""]
    for token in tokens:
        if token in (_STAR, _STARS):
            runs.append(b"")
        else:
            runs[-1] += token
    first, *others = runs
    middle = b"".join(b"(?>[^/]*?%b)" % run for run in others[:-1])
    last = b"[^/]*%b" % others[-1] if others else b""
    return re.compile(first + middle + last, re.DOTALL)


def _parts_match(wanted: Sequence[re.Pattern[bytes] | None], given: Sequence[bytes]) -> bool:
    """Goes back to the last ``**`` only: an earlier one could not do better."""
    at = here = 0
    stars, resumed = -1, 0
    while here < len(given):
        if at < len(wanted) and wanted[at] is None:
            if at + 1 == len(wanted):
                return True  # ** at the end: all that lies within
            stars, resumed = at, here
            at += 1
        elif at < len(wanted) and _fits(wanted[at], given[here]):
            at, here = at + 1, here + 1
        elif stars >= 0:
            resumed += 1
            at, here = stars + 1, resumed
        else:
            return False
    return at == len(wanted)


def _fits(part: re.Pattern[bytes] | None, name: bytes) -> bool:
    return part is not None and part.fullmatch(name) is not None
