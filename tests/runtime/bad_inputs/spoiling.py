"""Documents that fit a type but for one place, made from the type. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from msgspec import inspect as types

GOOD = "x"
MARK = "\ue000here\ue000"
"""Stands where a number is to stand, in a document that is made of text."""
_TEXTS = types.StrType | types.LiteralType | types.BytesType | types.EnumType
_NUMBERS = types.IntType | types.FloatType
_OBJECTS = types.StructType | types.DataclassType | types.TypedDictType
_LISTS = types.ListType | types.VarTupleType | types.SetType | types.FrozenSetType


def good(info: types.Type) -> Any:
    """A value that the type takes."""
    match info:
        case types.LiteralType():
            return info.values[0]
        case types.BytesType():
            return "eA=="
        case types.StrType():
            return GOOD
        case types.IntType() | types.FloatType():
            return 1
        case types.BoolType():
            return True
        case types.NoneType():
            return None
        case types.UnionType():
            return good(info.types[0])
        case types.TupleType():
            return [good(each) for each in info.item_types]
        case types.DictType():
            return {}
        case _ if isinstance(info, _LISTS):
            return []
        case _ if isinstance(info, _OBJECTS):
            return _object(info)
    return GOOD


def spoiled(info: types.Type, bad: Any, *, numbers: bool) -> Iterator[Any]:
    """Values with ``bad`` at one place, where the type has a text (or a number)."""
    if isinstance(info, _NUMBERS if numbers else _TEXTS):
        yield bad
    elif isinstance(info, types.UnionType):
        for each in info.types:
            yield from spoiled(each, bad, numbers=numbers)
    elif isinstance(info, types.TupleType):
        items = [good(each) for each in info.item_types]
        for number, each in enumerate(info.item_types):
            for value in spoiled(each, bad, numbers=numbers):
                yield [*items[:number], value, *items[number + 1 :]]
    elif isinstance(info, types.DictType):
        for key in () if numbers else spoiled(info.key_type, bad, numbers=False):
            yield {key: good(info.value_type)}
        for value in spoiled(info.value_type, bad, numbers=numbers):
            yield {GOOD: value}
    elif isinstance(info, _LISTS):
        yield from ([value] for value in spoiled(info.item_type, bad, numbers=numbers))
    elif isinstance(info, _OBJECTS):
        whole = _object(info)
        for field in info.fields:
            for value in spoiled(field.type, bad, numbers=numbers):
                yield {**whole, field.encode_name: value}


def spoiled_documents(
    kind: type, bad: str, *, numbers: bool, without: tuple[str, ...]
) -> list[str]:
    """JSON documents of the structure ``kind`` with ``bad`` at one place each: a text, or a number
    as JSON is to have it. ``without``: fields that the path has."""
    info = types.type_info(kind)
    assert isinstance(info, types.StructType)
    found = []
    for document in spoiled(info, MARK if numbers else bad, numbers=numbers):
        own = {name: value for name, value in document.items() if name not in without}
        text = json.dumps(own)
        found.append(text.replace(json.dumps(MARK), bad) if numbers else text)
    return list(dict.fromkeys(found))


def _object(info: types.StructType | types.DataclassType | types.TypedDictType) -> dict[str, Any]:
    return {each.encode_name: good(each.type) for each in info.fields if each.required}
