"""A request's JSON as Python values, and which value is for which input.

    named = by_name(parse(body), signature)

Python objects cost up to 40 times the text that they come from, and all of them are made in one
go, while no other thread runs. Hence MAX_VALUES: what holds more is refused unread. Even lists of
numbers, however long, do not come here (scoring/json_codec/large.py).
"""

from __future__ import annotations

from typing import Any

import orjson

from scoring.errors import BodyError, InputError
from scoring.signature import Signature

MAX_VALUES = 2**20
"""Lists, objects and what they hold, in one body. At worst about 100 MB and 0.4 s.

With that bound the garbage collector costs 0.2 s at most: no reason to halt it for all threads."""


def parse(body: bytes) -> dict[str, Any]:
    """The document. Raises BodyError when ``body`` is no JSON object, InputError when it holds
    more than MAX_VALUES values."""
    if not body:
        raise BodyError('the body is empty; expected JSON such as {"data": [[...]]}')
    if has_too_many_values(body):
        raise InputError(
            f"the body holds over {MAX_VALUES:,} values that are not even lists of plain numbers; "
            f"send fewer at once{_nan_hint(body)}"
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BodyError(f"the body is not valid JSON: {error}{_nan_hint(body)}") from None
    if not isinstance(document, dict):
        raise BodyError('the body is no JSON object; expected {"data": [[...]]} or inputs by name')
    return document


def by_name(document: dict[str, Any], signature: Signature) -> dict[str, Any]:
    """Values by input name. Raises InputError when one is missing or of no input."""
    if len(signature.inputs) == 1 and set(document) == {"data"}:
        return {signature.inputs[0].name: document["data"]}
    known = [spec.name for spec in (*signature.inputs, *signature.optional_inputs)]
    names = ", ".join(f"'{name}'" for name in known) or "none"
    for name in document:
        if name not in known:
            raise InputError(f"there is no input '{name[:100]}'; this model's inputs: {names}")
    for spec in signature.inputs:
        if spec.name not in document:
            raise InputError(
                f"input '{spec.name}' ({spec}) is missing; this model's inputs: {names}"
            )
    return document


def has_too_many_values(text: bytes) -> bool:
    """Whether valid JSON ``text`` holds more than MAX_VALUES values, told without reading it."""
    if len(text) <= MAX_VALUES or _marks(text) <= MAX_VALUES:
        return False
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > 2 * MAX_VALUES:
        return True
    return sum(map(_marks, text.split(b'"')[::2])) > MAX_VALUES  # long texts may hold many commas


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _nan_hint(body: bytes) -> str:
    if b"NaN" in body or b"Infinity" in body:
        return '; write NaN and infinities as strings: "NaN", "Infinity", "-Infinity"'
    return ""
