"""The JSON of an inference request around its tensors' data. Unknown fields are ignored, as the
protocol wants it."""

from __future__ import annotations

from typing import Any

import msgspec

from scoring.errors import BodyError
from scoring.json_codec.document import MAX_VALUES, has_too_many_values

NO_DATA = msgspec.Raw(b"")


class InputParameters(msgspec.Struct, gc=False):
    """Of one input; -1 is not given."""

    binary_data_size: int = -1
    shared_memory_region: Any = None


class InputTensor(msgspec.Struct, gc=False):
    """One input; ``data`` is JSON that nobody has read yet."""

    name: str
    datatype: str
    shape: list[int]
    parameters: InputParameters | None = None
    data: msgspec.Raw = NO_DATA


class OutputParameters(msgspec.Struct, gc=False):
    """Of one requested output."""

    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: Any = None


class OutputTensor(msgspec.Struct, gc=False):
    """One requested output."""

    name: str
    parameters: OutputParameters | None = None


class Head(msgspec.Struct):
    """All but the inputs."""

    id: str | None = None
    outputs: list[OutputTensor] | None = None
    parameters: dict[str, Any] | None = None


class Envelope(Head, kw_only=True):
    """The request."""

    inputs: list[InputTensor]


_DECODER = msgspec.json.Decoder(Envelope)


def read_envelope(header: bytes | memoryview) -> Envelope:
    """The request in ``header``. Raises BodyError when it is no JSON or not as the protocol says,
    or holds so many values, one by one, that reading them would hold up everybody else.

    NaN, Infinity and -Infinity are accepted as they stand: tritonclient sends them, Triton takes
    them."""
    if len(header) > MAX_VALUES and has_too_many_values(bytes(header)):
        raise BodyError(
            f"the request holds over {MAX_VALUES:,} values in JSON that are not even lists of "
            "plain numbers; send them as binary data"
        )
    try:
        return _DECODER.decode(header)
    except msgspec.ValidationError as error:
        raise BodyError(f"this is no inference request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        strict = _without_constants(bytes(header))
        if strict is None:
            raise BodyError(f"the body is not valid JSON: {error}") from None
    try:
        return _DECODER.decode(strict)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BodyError(f"this is no inference request: {error}") from None


def _without_constants(header: bytes) -> bytes | None:
    """``header`` with its bare NaN and infinities as strings; None when that is not what ails it"""
    if b"NaN" not in header and b"Infinity" not in header:
        return None
    import json

    try:
        return json.dumps(json.loads(header, parse_constant=str), allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
