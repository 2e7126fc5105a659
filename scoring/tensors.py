"""JSON to arrays and back, for models without a script. Pure.

Request: ``{"data": VALUE}`` for a model with one input, or ``{"<input>": VALUE, ...}``. VALUE is a
number, text or boolean, lists of them nested to the tensor's shape, or ``{"shape": [...], "data":
VALUE}`` where the shape cannot be seen in the lists (``[0, 3]``). A sequence is a list of VALUEs.
Answer: ``{"<output>": VALUE, ...}``.

JSON has no NaN and no infinities: floats also come and go as the strings "NaN", "Infinity" and
"-Infinity" (the JSON mapping of Protocol Buffers, protobuf.dev/programming-guides/json). Values are
never bent to fit: 1.5 is no integer, 300 no uint8, 1e39 no float32, true no number.

Three ways of reading give the same arrays: plans for small requests (json_codec/small.py),
pieces of large ones (json_codec/large.py), and an exact one (json_codec/exact.py) for what
these leave and for every refusal. Answers: json_codec/answer.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from scoring.errors import InputError
from scoring.json_codec import document as json_document
from scoring.json_codec import exact as json_exact
from scoring.json_codec.answer import encode_each, encode_response
from scoring.json_codec.exact import NON_FINITE, dtype_of
from scoring.json_codec.large import decode_large, reads_numbers
from scoring.json_codec.small import MISFITS, plan_for
from scoring.signature import Signature

__all__ = [
    "LARGE_BYTES",
    "NON_FINITE",
    "Decoder",
    "decode_request",
    "dtype_of",
    "encode_each",
    "encode_response",
]

LARGE_BYTES = 16 * 1024
"""From here on a body is worth its outline."""


class Decoder:
    """Reads requests for one model; may be used by several threads at a time."""

    def __init__(self, signature: Signature, *, large_bytes: int = LARGE_BYTES) -> None:
        specs = (*signature.inputs, *signature.optional_inputs)
        self._signature = signature
        self._large_bytes = large_bytes if reads_numbers(signature) else json_document.MAX_VALUES
        self._plans = {spec.name: plan_for(spec) for spec in specs}
        self._only = signature.inputs[0].name if len(signature.inputs) == 1 else ""
        self._only_plan = self._plans.get(self._only)

    def __repr__(self) -> str:
        return f"<Decoder of {', '.join(map(repr, self._plans))}>"

    def decode(self, body: bytes) -> dict[str, Any]:
        """Arrays by input name, some of them not writable.

        Raises BodyError when the body is no JSON object, InputError when a value does not fit."""
        if len(body) >= self._large_bytes:
            return self._decode_large(body)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = json_document.parse(body)
        # no null, true or false without these letters, which few bodies have
        has_words = b"u" in body or b"l" in body
        booleans = has_words and (b"true" in body or b"false" in body)
        read = None
        plan = self._only_plan
        try:
            if plan is not None and len(document) == 1:
                value = document["data"] if "data" in document else document[self._only]
                array = plan(value, booleans)
                if array is not None:
                    return {self._only: array}
            else:
                read = self._read_named(document, booleans)
        except MISFITS:
            pass
        return json_exact.decode_exactly(body, self._signature) if read is None else read

    def _read_named(self, document: Any, booleans: bool) -> dict[str, Any] | None:
        if type(document) is not dict:
            return None
        read: dict[str, Any] = {}
        for name, plan in self._plans.items():
            if name in document:
                array = None if plan is None else plan(document[name], booleans)
                if array is None:
                    return None
                read[name] = array
        complete = all(spec.name in read for spec in self._signature.inputs)
        return read if complete and len(read) == len(document) else None

    def _decode_large(self, body: bytes) -> dict[str, Any]:
        read = decode_large(body, self._signature)
        if isinstance(read, dict):
            return read
        if isinstance(read, InputError) and json_document.has_too_many_values(body):
            raise read
        return json_exact.decode_exactly(body, self._signature)


@lru_cache(maxsize=64)
def _decoder(signature: Signature) -> Decoder:
    return Decoder(signature)


def decode_request(body: bytes, signature: Signature) -> dict[str, Any]:
    """`Decoder.decode` for a signature that is seldom used."""
    return _decoder(signature).decode(body)
