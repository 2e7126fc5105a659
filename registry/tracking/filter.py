"""Reads filters and orders of a search, in MLflow's words: pure.

    metrics.accuracy > 0.9 AND params.depth = '3' AND tags.`my tag` LIKE 'a%' AND status = 'FAILED'

Conditions are joined by AND. A key stands bare, or in backticks or double quotes; text in single or
double quotes, with the quote itself twice. Comparisons: ``= != < <= > >=`` of numbers,
``= != LIKE ILIKE IN NOT IN`` of text, ``IS NULL`` and ``IS NOT NULL`` of params, tags and metrics.
An order is a field and ASC or DESC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from registry.errors import InvalidNameError

Of = Literal["attribute", "metric", "param", "tag"]
Attributes = Mapping[str, tuple[str, Literal["text", "number"]]]
"""The attributes that can be asked for: their SQL, and what they are."""
Given = float | str | tuple[str, ...] | None
MAX_FILTER_CHARS = 20_000
MAX_CONDITIONS = 64
MAX_LISTED = 10_000
MAX_WILDCARDS = 16
_NAMES: Mapping[str, Of] = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<tick>`[^`]+`)
    | (?P<compare><=|>=|!=|<>|=|<|>)
    | (?P<mark>[(),])
    | (?P<word>[^\s'"`<>=!(),]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_NUMERIC = frozenset(("=", "!=", "<", "<=", ">", ">="))
_TEXTUAL = frozenset(("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"))


@dataclass(frozen=True, slots=True)
class Condition:
    """``of`` and ``key`` say what is compared; ``value`` is a float, text, several texts (IN), or
    None (IS NULL, IS NOT NULL)."""

    of: Of
    key: str
    comparison: str
    value: Given


@dataclass(frozen=True, slots=True)
class Order:
    """What a search sorts by."""

    of: Of
    key: str
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.upper() in words


def parse(text: str, attributes: Attributes) -> tuple[Condition, ...]:
    """The conditions of a filter; none of an empty one. Raises InvalidNameError, saying where it
    cannot be read."""
    reader = _Reader(text, attributes)
    found: list[Condition] = []
    while not reader.is_at_end():
        if found:
            reader.expect("AND")
        found.append(reader.condition())
        if len(found) > MAX_CONDITIONS:
            raise InvalidNameError(f"the filter has more than {MAX_CONDITIONS} conditions")
    return tuple(found)


def parse_order(text: str, attributes: Attributes) -> Order:
    """One order. Raises InvalidNameError."""
    reader = _Reader(text, attributes)
    of, key = reader.field()
    is_descending = reader.direction()
    if not reader.is_at_end():
        raise reader.complaint("ASC, DESC or the end")
    return Order(of, key, is_descending)


class _Reader:
    """Reads from the first token to the last."""

    def __init__(self, text: str, attributes: Attributes) -> None:
        if not isinstance(text, str) or len(text) > MAX_FILTER_CHARS:
            raise InvalidNameError(f"a filter is text of at most {MAX_FILTER_CHARS} characters")
        self._attributes = attributes
        self._tokens = list(_tokens(text))
        self._next = 0

    def is_at_end(self) -> bool:
        return self._peek().kind == "end"

    def complaint(self, wanted: str) -> InvalidNameError:
        token = self._peek()
        found = "it ends" if token.kind == "end" else f"there is {ascii(token.text)[:40]}"
        return InvalidNameError(
            f"the filter cannot be read at character {token.start + 1}: {found}, not {wanted}"
        )

    def expect(self, word: str) -> None:
        if not self._peek().is_word(word):
            raise self.complaint(word)
        self._next += 1

    def condition(self) -> Condition:
        of, key = self.field()
        comparison = self._comparison()
        if comparison in ("IS NULL", "IS NOT NULL"):
            if of == "attribute":
                raise InvalidNameError(f"the attribute {key} always has a value")
            return Condition(of, key, comparison, None)
        is_numeric = of == "metric" or (of == "attribute" and self._attributes[key][1] == "number")
        if comparison not in (_NUMERIC if is_numeric else _TEXTUAL):
            what = "a number" if is_numeric else "text"
            raise InvalidNameError(f"{of} {key!a} is {what} and cannot be compared by {comparison}")
        if is_numeric:
            return Condition(of, key, comparison, self._number())
        if comparison in ("IN", "NOT IN"):
            return Condition(of, key, comparison, self._several())
        value = self._text()
        if comparison in ("LIKE", "ILIKE") and value.count("%") > MAX_WILDCARDS:
            raise InvalidNameError(f"a pattern has at most {MAX_WILDCARDS} times %")
        return Condition(of, key, comparison, value)

    def field(self) -> tuple[Of, str]:
        token = self._take("word", "text", "tick", wanted="a field such as metrics.accuracy")
        if token.kind != "word":
            return "attribute", self._attribute(_bare(token))
        prefix, dot, rest = token.text.partition(".")
        of = _NAMES.get(prefix.lower())
        if of is None or not dot:
            return "attribute", self._attribute(token.text)
        if not rest:
            rest = _bare(self._take("text", "tick", wanted=f"a key after {prefix}."))
        return (of, self._attribute(rest)) if of == "attribute" else (of, rest)

    def direction(self) -> bool:
        token = self._peek()
        if not token.is_word("ASC", "DESC"):
            return False
        self._next += 1
        return token.text.upper() == "DESC"

    def _attribute(self, name: str) -> str:
        plain = name.lower().replace(" ", "_")
        if plain not in self._attributes:
            raise InvalidNameError(
                f"{name!a} cannot be searched by; known are metrics.KEY, params.KEY, tags.KEY and"
                f" {', '.join(self._attributes)}"
            )
        return plain

    def _comparison(self) -> str:
        token = self._peek()
        self._next += 1
        if token.kind == "compare":
            return "!=" if token.text == "<>" else token.text
        if token.is_word("LIKE", "ILIKE", "IN"):
            return token.text.upper()
        if token.is_word("NOT"):
            self.expect("IN")
            return "NOT IN"
        if token.is_word("IS"):
            is_not = self._peek().is_word("NOT")
            self._next += is_not
            self.expect("NULL")
            return "IS NOT NULL" if is_not else "IS NULL"
        self._next -= 1
        raise self.complaint("a comparison such as =")

    def _number(self) -> float:
        token = self._take("word", wanted="a number")
        if token.text.lower() in ("inf", "+inf", "-inf", "infinity", "-infinity"):
            return float(token.text)
        if not _NUMBER.fullmatch(token.text):
            self._next -= 1
            raise self.complaint("a number")
        return float(token.text)

    def _text(self) -> str:
        return _bare(self._take("text", wanted="text in quotes"))

    def _several(self) -> tuple[str, ...]:
        self._mark("(")
        found = [self._text()]
        while self._peek().text == "," and self._peek().kind == "mark":
            self._next += 1
            found.append(self._text())
            if len(found) > MAX_LISTED:
                raise InvalidNameError(f"the filter lists more than {MAX_LISTED} values")
        self._mark(")")
        return tuple(found)

    def _mark(self, mark: str) -> None:
        token = self._peek()
        if (token.kind, token.text) != ("mark", mark):
            raise self.complaint(mark)
        self._next += 1

    def _take(self, *kinds: str, wanted: str) -> _Token:
        token = self._peek()
        if token.kind not in kinds:
            raise self.complaint(wanted)
        self._next += 1
        return token

    def _peek(self) -> _Token:
        return self._tokens[min(self._next, len(self._tokens) - 1)]


def like_to_glob(pattern: str) -> str:
    """A pattern of LIKE, where letters are what they are, as one of GLOB. ``%`` is any text, ``_``
    any character."""
    plain = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(plain.get(char, char) for char in pattern)


def orders(texts: Sequence[str], attributes: Attributes) -> tuple[Order, ...]:
    """All orders of a search. Raises InvalidNameError."""
    if len(texts) > MAX_CONDITIONS:
        raise InvalidNameError(f"a search has at most {MAX_CONDITIONS} orders")
    return tuple(parse_order(text, attributes) for text in texts)


def _tokens(text: str) -> Iterator[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise InvalidNameError(
                f"the filter cannot be read at character {start + 1}: {ascii(text[start:])[:40]}"
            )
        kind = match.lastgroup
        assert kind is not None
        yield _Token(kind, match[kind], match.start(kind))
        position = match.end()
    yield _Token("end", "", end)


def _bare(token: _Token) -> str:
    quote, text = token.text[0], token.text[1:-1]
    return text.replace(quote * 2, quote)
