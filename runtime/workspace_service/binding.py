"""Path, query and body of a request as the arguments of a route's function. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from runtime.workspace_service.faults import Fault
from runtime.workspace_service.route import Route

MSGPACK = "application/msgpack"
MAX_FIELDS = 200


def bind(
    route: Route, path: Mapping[str, str], query: bytes, body: bytes, kind: str
) -> dict[str, Any]:
    """The arguments by name. ``body`` is a document of type ``kind``: MessagePack, else JSON.
    Raises Fault 400 and 415."""
    texts: dict[str, Any] = {**_query(route, query), **path}
    # Texts are read as what is asked for ("7" as 7); documents say what they are.
    if route.method in ("GET", "DELETE") or route.is_async:
        return _convert(route, texts, strict=False)
    known = {**_document(body, kind), **path}
    if set(texts) - set(path):
        raise Fault(400, "bad_value", "this takes its arguments in the body, not in the query")
    return _convert(route, known, strict=True)


def _convert(route: Route, values: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    if not strict or route.path_names:
        values = {
            name: _text(route, name, value) if name in route.path_names else value
            for name, value in values.items()
        }
    try:
        found = msgspec.convert(values, route.arguments, strict=strict)
    except msgspec.ValidationError as error:
        raise Fault(400, "bad_value", str(error)) from None
    bound = msgspec.structs.asdict(found)
    _check_integers(bound)
    return bound


def _check_integers(value: Any) -> None:
    """The database has integers of 64 bits. Documents are as deep as the types that take them."""
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise Fault(400, "bad_value", "an integer has more than 64 bits")
    elif isinstance(value, Mapping):
        for each in value.values():
            _check_integers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_integers(each)
    elif isinstance(value, msgspec.Struct):
        _check_integers(msgspec.structs.asdict(value))
    elif is_dataclass(value):
        for name in value.__dataclass_fields__:
            _check_integers(getattr(value, name))


def _text(route: Route, name: str, value: Any) -> Any:
    """An argument of the path as the type that it is of."""
    try:
        return msgspec.convert(value, route.hints[name], strict=False)
    except msgspec.ValidationError:
        raise Fault(404, "not_found", f"there is no such {name}") from None


def _query(route: Route, query: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise Fault(400, "bad_value", "the query cannot be read") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        if _is_list(route.hints.get(name)):
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Fault(400, "bad_value", f"{name} is given twice")
        else:
            found[name] = value
    return found


def _is_list(hint: Any) -> bool:
    return get_origin(hint) in (list, tuple) or any(
        get_origin(each) in (list, tuple) for each in get_args(hint)
    )


def _document(body: bytes, kind: str) -> dict[str, Any]:
    if not body:
        return {}
    media = kind.partition(";")[0].strip().lower()
    # A form of another site can send any of the three types that are no JSON.
    if media not in (MSGPACK, "application/json"):
        raise Fault(415, "bad_value", "the body must be application/json or application/msgpack")
    try:
        found = msgspec.msgpack.decode(body) if media == MSGPACK else msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Fault(400, "bad_value", f"the body cannot be read: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise Fault(400, "bad_value", "the body must be an object")
    return found
