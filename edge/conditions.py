"""Which devices a layer is for: a condition on a device's name and its tags.

    site == "berlin" and role in ("camera", "gate") and not name ~ "test-*"

    all                     every device
    TAG                     the device has the tag, whatever its value
    TAG == "x"  TAG != "x"  a tag that is not there is no value: == is false, != is true
    TAG ~ "x-*" TAG !~ ..   shell patterns: *, ?, [abc]
    TAG in ("x", "y")       and: TAG not in (...)
    and or not ( )          "not" binds closest, "or" widest

``name`` is the device's name. The parser is our own and knows nothing else: a condition can be long
or deep, and say whatever it wants, and is still only refused.

    parse('site == "berlin"')("camera-1", {"site": "berlin"})     # True
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple, NoReturn

from edge.errors import InvalidSpecError

MAX_LENGTH = 2000
MAX_DEPTH = 32
"""Of brackets and "not" within each other."""
MAX_VALUE = 200
MAX_STARS = 8
"""In a pattern: each is a place to go back to."""

Condition = Callable[[str, Mapping[str, str]], bool]
"""(name of the device, its tags) -> whether it is meant."""
_TOKEN = re.compile(
    r"""(?P<sign>==|!=|!~|~|\(|\)|,)|(?P<value>"[^"\n]*"|'[^'\n]*')|(?P<word>[A-Za-z_][\w.-]*)""",
    re.ASCII,
)
_SPACE = re.compile(r"[ \t\r\n]*")
_KEYWORDS = frozenset({"and", "or", "not", "in", "all"})


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


@lru_cache(maxsize=512)
def parse(text: str) -> Condition:
    """Raises InvalidSpecError, which says where and what was expected."""
    if len(text) > MAX_LENGTH:
        raise InvalidSpecError(f"a condition may have {MAX_LENGTH} characters, not {len(text)}")
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches the empty text too
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            _refuse(f"{text[at]!a} means nothing here", at + 1)
        kind = str(match.lastgroup)
        if kind == "word" and match.group() in _KEYWORDS:
            kind = "keyword"
        found.append(_Token(kind, match.group(), at + 1))
        at = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]
    return [*found, _Token("end", "the end", len(text) + 1)]


def _refuse(what: str, column: int) -> NoReturn:
    raise InvalidSpecError(f"condition, column {column}: {what}")


class _Parser:
    """By recursive descent; only brackets and "not" go deeper."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Condition:
        condition = self._any()
        if self._next.kind != "end":
            self._expected('"and", "or" or the end')
        return condition

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, text: str) -> bool:
        """Whether this sign or keyword is next; if so, it is passed."""
        token = self._next
        if token.kind not in ("sign", "keyword") or token.text != text:
            return False
        self._at += 1
        return True

    def _expected(self, what: str) -> NoReturn:
        token = self._next
        _refuse(f"expected {what}, not {ascii(token.text)[:60]}", token.column)

    def _any(self) -> Condition:
        parts = [self._every()]
        while self._take("or"):
            parts.append(self._every())
        if len(parts) == 1:
            return parts[0]
        return lambda name, tags: any(part(name, tags) for part in parts)

    def _every(self) -> Condition:
        parts = [self._single()]
        while self._take("and"):
            parts.append(self._single())
        if len(parts) == 1:
            return parts[0]
        return lambda name, tags: all(part(name, tags) for part in parts)

    def _single(self) -> Condition:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _refuse(f"deeper than {MAX_DEPTH} levels", self._next.column)
        condition = self._deeper()
        self._depth -= 1
        return condition

    def _deeper(self) -> Condition:
        if self._take("not"):
            inner = self._single()
            return lambda name, tags: not inner(name, tags)
        if self._take("("):
            inner = self._any()
            if not self._take(")"):
                self._expected('")"')
            return inner
        if self._take("all"):
            return lambda name, tags: True
        return self._comparison()

    def _comparison(self) -> Condition:
        if self._next.kind != "word":
            self._expected('a tag, "name", "not", "all" or "("')
        key = self._next.text
        self._at += 1
        if self._take("=="):
            return _compared(key, self._value().__eq__)
        if self._take("!="):
            return _negated(_compared(key, self._value().__eq__))
        if self._take("~"):
            return _compared(key, self._pattern())
        if self._take("!~"):
            return _negated(_compared(key, self._pattern()))
        if self._take("in"):
            return _compared(key, self._values().__contains__)
        if self._take("not"):
            if not self._take("in"):
                self._expected('"in"')
            return _negated(_compared(key, self._values().__contains__))
        return _compared(key, lambda value: True)

    def _value(self) -> str:
        token = self._next
        if token.kind != "value":
            self._expected("a value in quotes")
        if len(token.text) - 2 > MAX_VALUE:
            _refuse(f"a value may have {MAX_VALUE} characters", token.column)
        self._at += 1
        return token.text[1:-1]

    def _pattern(self) -> Callable[[str], bool]:
        column = self._next.column
        pattern = re.sub(r"\*+", "*", self._value())
        if pattern.count("*") > MAX_STARS:
            _refuse(f"a pattern may have {MAX_STARS} stars", column)
        return lambda value: fnmatchcase(value, pattern)

    def _values(self) -> frozenset[str]:
        if not self._take("("):
            self._expected('"(" and values in quotes')
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        if not self._take(")"):
            self._expected('"," or ")"')
        return frozenset(values)


def _compared(key: str, holds: Callable[[str], bool]) -> Condition:
    if key == "name":
        return lambda name, tags: holds(name)

    def condition(name: str, tags: Mapping[str, str]) -> bool:
        value = tags.get(key)
        return value is not None and holds(value)

    return condition


def _negated(inner: Condition) -> Condition:
    return lambda name, tags: not inner(name, tags)
