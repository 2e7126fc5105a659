"""The OpenAPI description of a model without a script, in versions 2.0, 3.0 and 3.1. Pure.

documents(signature, name="digits", version=3)["3.1"]

Three things that the codec checks have no form in OpenAPI: that lists are as long as each other,
that sizes of one name agree between inputs, and that "shape" fits "data" (tensors.py). The texts
say so.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from scoring.signature import Signature, TensorSpec
from scoring.tensors import NON_FINITE, dtype_of

Schema = dict[str, Any]
EXAMPLE_VALUES = 1000
"""Larger examples would bury the document."""
ERRORS = {
    "400": "The body is no JSON, or a value does not fit the model: the message names the input",
    "408": "The body came too slowly",
    "413": "The body is too large",
    "415": "The body is not JSON by its Content-Type",
    "429": "Too many requests wait; Retry-After says for how long",
    "431": "A request id has more than 100 characters",
    "500": "The model failed on these inputs",
    "503": "The model is still loading, or the server is stopping",
}
PLAIN_ROUTES = {
    "/": ("ServiceHealthCheck", "Liveness: this process answers"),
    "/healthz": ("Liveness", "Liveness: this process answers"),
    "/readyz": ("Readiness", "Whether an engine can answer"),
    "/metrics": ("Metrics", "Counters in the Prometheus text format"),
}
SWAGGER_ROUTE = ("GetSwaggerSpec", "This document")
VERSIONS = {"type": "string", "enum": ["2", "2.0", "3", "3.0", "3.1"]}
VERSION_QUERY = {"name": "version", "in": "query", "description": "OpenAPI version, 2 if not given"}
NO_SUCH_VERSION = "There is no such version of this document"
ENCODING = (
    "Lists are nested to the shape, those of one level equally long; sizes of one name are equal in"
    ' all inputs. {"shape": [sizes], "data": [values]} says a shape that lists cannot show.'
)


def documents(signature: Signature, *, name: str, version: int) -> dict[str, Schema]:
    """The documents by version alias, as /swagger.json?version= takes them."""
    text = f"Model {name}:{version}. {ENCODING}"
    info = {"title": name, "version": str(version), "description": text}
    body, answer = _request_schema(signature), _answer_schema(signature)
    example = _example(signature)
    answer_2 = _without_any_of(answer, is_answer=True)
    two = _swagger_2(info, _without_any_of(body) | example, answer_2)
    three = _openapi_3(info, body | example, answer)
    return {"2": two, "2.0": two, "3": three, "3.0": three, "3.1": {**three, "openapi": "3.1.0"}}


def _swagger_2(info: Schema, body: Schema, answer: Schema) -> Schema:
    error = {"$ref": "#/definitions/ErrorResponse"}
    responses = {code: {"description": text, "schema": error} for code, text in ERRORS.items()}
    score = {
        "operationId": "RunMLService",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "parameters": [
            {
                "name": "payload",
                "in": "body",
                "required": True,
                "schema": {"$ref": "#/definitions/ServiceInput"},
            }
        ],
        "responses": {
            "200": {
                "description": "Outputs by name",
                "schema": {"$ref": "#/definitions/ServiceOutput"},
            },
            **responses,
        },
    }
    plain = {
        path: {"get": _plain_2(operation, text)} for path, (operation, text) in PLAIN_ROUTES.items()
    }
    return {
        "swagger": "2.0",
        "info": info,
        "paths": {
            **plain,
            "/swagger.json": {"get": _own_route_2()},
            "/score": {"post": score},
        },
        "definitions": {
            "ServiceInput": body,
            "ServiceOutput": answer,
            "ErrorResponse": _error_schema(),
        },
    }


def _plain_2(operation: str, text: str) -> Schema:
    media = [] if operation == SWAGGER_ROUTE[0] else ["text/plain", "text/html"]
    return {
        "operationId": operation,
        "produces": [*media, "application/json"],
        "responses": {"200": {"description": text}, "503": {"description": "Not ready"}},
    }


def _own_route_2() -> Schema:
    route = _plain_2(*SWAGGER_ROUTE)
    error = {"description": NO_SUCH_VERSION, "schema": {"$ref": "#/definitions/ErrorResponse"}}
    route["responses"]["404"] = error
    return {**route, "parameters": [VERSION_QUERY | VERSIONS]}


def _openapi_3(info: Schema, body: Schema, answer: Schema) -> Schema:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}}
    responses = {code: {"description": text, "content": error} for code, text in ERRORS.items()}
    score = {
        "operationId": "RunMLService",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ServiceInput"}}
            },
        },
        "responses": {
            "200": {
                "description": "Outputs by name",
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/ServiceOutput"}}
                },
            },
            **responses,
        },
    }
    plain = {
        path: {"get": _plain_3(operation, text, error)}
        for path, (operation, text) in PLAIN_ROUTES.items()
    }
    return {
        "openapi": "3.0.3",
        "info": info,
        "paths": {
            **plain,
            "/swagger.json": {"get": _own_route_3(error)},
            "/score": {"post": score},
        },
        "components": {
            "schemas": {
                "ServiceInput": body,
                "ServiceOutput": answer,
                "ErrorResponse": _error_schema(),
            }
        },
    }


def _plain_3(operation: str, text: str, error: Schema) -> Schema:
    media = "application/json" if operation == SWAGGER_ROUTE[0] else "text/plain"
    media = "text/html" if text.startswith("Liveness") else media
    schema = {"type": "object"} if media == "application/json" else {"type": "string"}
    return {
        "operationId": operation,
        "responses": {
            "200": {"description": text, "content": {media: {"schema": schema}}},
            "503": {"description": "Not ready", "content": error},
        },
    }


def _own_route_3(error: Schema) -> Schema:
    route = _plain_3(*SWAGGER_ROUTE, error)
    route["responses"]["404"] = {"description": NO_SUCH_VERSION, "content": error}
    return {**route, "parameters": [VERSION_QUERY | {"schema": VERSIONS}]}


def _error_schema() -> Schema:
    return {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}},
    }


def _request_schema(signature: Signature) -> Schema:
    by_name: Schema = {
        "type": "object",
        "required": [spec.name for spec in signature.inputs],
        "properties": {
            spec.name: _value_schema(spec)
            for spec in (*signature.inputs, *signature.optional_inputs)
        },
        "additionalProperties": False,
    }
    if not by_name["required"]:
        del by_name["required"]
    if len(signature.inputs) != 1 or signature.inputs[0].name == "data":
        return by_name
    short = {
        "type": "object",
        "required": ["data"],
        "properties": {"data": _value_schema(signature.inputs[0])},
        "additionalProperties": False,
    }
    return {"anyOf": [short, by_name]}


def _answer_schema(signature: Signature) -> Schema:
    return {
        "type": "object",
        "required": [spec.name for spec in signature.outputs],
        "properties": {
            spec.name: _value_schema(spec, is_answer=True) for spec in signature.outputs
        },
    }


def _value_schema(spec: TensorSpec, *, is_answer: bool = False) -> Schema:
    if spec.shape is None:
        return {"description": str(spec)}
    schema = _item_schema(spec.dtype, is_answer)
    for dim in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if isinstance(dim, int) and not is_answer:
            schema |= {"minItems": dim, "maxItems": dim}
    return {"description": str(spec), **schema}


def _item_schema(dtype: str, is_answer: bool) -> Schema:
    if dtype == "string":
        return {"type": "string"}
    if dtype == "bool":
        return {"type": "boolean"}
    if dtype.startswith(("int", "uint")):
        return {"type": "integer", **_integer_bounds(dtype)}
    if dtype == "map":
        return {}
    number = {"type": "number"} if is_answer else {"type": "number", **_float_bounds(dtype)}
    return {"anyOf": [{"type": "string", "enum": _spellings(dtype)}, number]}


def _spellings(dtype: str) -> list[str]:
    """What stands for the values of ``dtype`` that JSON has no number for."""
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            text
            for text, value in NON_FINITE.items()
            if math.isnan(value) or np.isinf(_cast(value, dtype))
        ]


def _integer_bounds(dtype: str) -> Schema:
    signed, bits = not dtype.startswith("u"), int(dtype.lstrip("uint"))
    if signed:
        return {"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}
    return {"minimum": 0, "maximum": 2**bits - 1}


@functools.cache
def _float_bounds(dtype: str) -> Schema:
    """The numbers that the codec rounds to a finite ``dtype``: a little beyond its largest, as
    3.4028235e38 is (numpy's text for the largest float32)."""
    if dtype == "float64":
        return {}

    def is_taken(number: float) -> bool:
        with np.errstate(over="ignore", invalid="ignore"):
            return math.isfinite(_cast(number, dtype))

    largest = _frontier(is_taken, 1.0, np.finfo(np.float64).max)
    if is_taken(-1.0):
        return {"minimum": -largest, "maximum": largest}
    return {"minimum": _frontier(is_taken, 1.0, 0.0), "maximum": largest}


def _frontier(is_taken: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last number taken between two of which one is: positive doubles order as their bits."""
    taken, refused = _bits(inside), _bits(outside)
    while abs(refused - taken) > 1:
        middle = (taken + refused) // 2
        if is_taken(_from_bits(middle)):
            taken = middle
        else:
            refused = middle
    return _from_bits(taken)


def _bits(number: float) -> int:
    return int.from_bytes(struct.pack(">d", number), "big")


def _from_bits(bits: int) -> float:
    return float(struct.unpack(">d", bits.to_bytes(8, "big"))[0])


def _cast(number: float, dtype: str) -> float:
    return float(np.float64(number).astype(dtype_of(dtype)))


def _example(signature: Signature) -> Schema:
    """A request that fits, dynamic sizes being 1, unless it would be long or cannot be known."""
    if any(spec.shape is None or spec.dtype == "map" for spec in signature.inputs):
        return {}
    shapes = {
        spec.name: [dim if isinstance(dim, int) else 1 for dim in spec.shape or ()]
        for spec in signature.inputs
    }
    if sum(math.prod(shape) for shape in shapes.values()) > EXAMPLE_VALUES:
        return {}
    return {
        "example": {
            spec.name: np.full(shapes[spec.name], _sample(spec.dtype), dtype=object).tolist()
            for spec in signature.inputs
        }
    }


def _sample(dtype: str) -> str | bool | int | float:
    if dtype == "string":
        return "text"
    if dtype == "bool":
        return True
    return 1 if dtype.startswith(("int", "uint")) else 1.0


def _without_any_of(schema: Any, *, is_answer: bool = False) -> Any:
    """Swagger 2.0 has no anyOf: the last branch stands for all in requests (inputs by name, numbers
    as such), and answers may hold anything there."""
    if isinstance(schema, list):
        return [_without_any_of(item, is_answer=is_answer) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        key: _without_any_of(value, is_answer=is_answer)
        for key, value in schema.items()
        if key != "anyOf"
    }
    if "anyOf" in schema and not is_answer:
        plain |= _without_any_of(schema["anyOf"][-1])
    return plain
