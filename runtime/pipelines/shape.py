"""From text, lists and maps to a pipeline: every key is known, every value of its kind. Pure.

A file has no types, so ``3`` and ``true`` are text here and become what the field wants. Nothing at
all is an empty list or map where one is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from runtime.pipelines.errors import BadPipelineError
from runtime.pipelines.words import advice, shown

T = TypeVar("T")
_MAPS = (inspect.DictType, inspect.StructType)
_LISTS = (inspect.ListType, inspect.VarTupleType)


def shaped(value: Any, kind: type[T], where: str) -> T:
    """``value`` as a ``kind``, a struct. Raises BadPipelineError, beginning with ``where``."""
    fitted = _fitted(value, inspect.type_info(kind), where)
    try:
        return msgspec.convert(fitted, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadPipelineError(_said(error, where)) from error


def _fitted(value: Any, kind: inspect.Type, where: str) -> Any:
    """With only known keys, and with what is empty as what it should be."""
    kind = _without_none(kind)
    if value is None:
        return None
    if value == "" and isinstance(kind, _MAPS):
        value = {}
    if value == "" and isinstance(kind, _LISTS):
        value = []
    if isinstance(kind, inspect.StructType):
        return _fitted_struct(value, kind, where)
    if isinstance(kind, inspect.DictType) and isinstance(value, Mapping):
        return {k: _fitted(v, kind.value_type, f"{where}: {shown(k)}") for k, v in value.items()}
    if isinstance(kind, _LISTS) and isinstance(value, list | tuple):
        return [_fitted(item, kind.item_type, where) for item in value]
    return value


def _fitted_struct(value: Any, kind: inspect.StructType, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise BadPipelineError(f"{where} must have keys and values")
    fields = {field.encode_name: field.type for field in kind.fields}
    known = fields if kind.tag_field is None else {kind.tag_field: None, **fields}
    for key in value:
        if key not in known:
            said = advice(str(key), known, "there is none")
            raise BadPipelineError(f"{where}: {shown(key)} is not known; {said}")
    return {
        key: _fitted(item, fields[key], f"{where}: {key}") if key in fields else item
        for key, item in value.items()
    }


def _without_none(kind: inspect.Type) -> inspect.Type:
    """Of something that may be missing."""
    if isinstance(kind, inspect.UnionType):
        rest = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _said(error: msgspec.ValidationError, where: str) -> str:
    text, _, place = str(error).partition(" - at `")
    path = place.removesuffix("`").removeprefix("$").removeprefix(".")
    what = text.replace("Object", "it").replace("`object`", "keys and values")
    what = what.replace("`array`", "a list").replace("`str`", "text").replace("`", "'")
    return f"{where}: {path}: {what}" if path else f"{where}: {what}"
