"""The OpenAPI description of a model without a script, in versions 2.0, 3.0 and 3.1. Pure.

documents(signature, name="digits", version=3)["3.1"]
"""

from __future__ import annotations

from typing import Any

from scoring.signature import Signature, TensorSpec

Schema = dict[str, Any]
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
SWAGGER_ROUTE = ("GetSwaggerSpec", "This document; ?version= 2, 2.0, 3, 3.0 or 3.1")


def documents(signature: Signature, *, name: str, version: int) -> dict[str, Schema]:
    """The documents by version alias, as /swagger.json?version= takes them."""
    info = {"title": name, "version": str(version), "description": f"Model {name}:{version}"}
    body, answer = _request_schema(signature), _answer_schema(signature)
    two = _swagger_2(info, body, answer)
    three = _openapi_3(info, body, answer)
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
            "/swagger.json": {"get": _plain_2(*SWAGGER_ROUTE)},
            "/score": {"post": score},
        },
        "definitions": {
            "ServiceInput": _without_any_of(body),
            "ServiceOutput": _without_any_of(answer),
            "ErrorResponse": _error_schema(),
        },
    }


def _plain_2(operation: str, text: str) -> Schema:
    produces = (
        ["application/json"] if operation == SWAGGER_ROUTE[0] else ["text/plain", "text/html"]
    )
    return {
        "operationId": operation,
        "produces": [*produces, "application/json"],
        "responses": {"200": {"description": text}, "503": {"description": "Not ready"}},
    }


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
            "/swagger.json": {"get": _plain_3(*SWAGGER_ROUTE, error)},
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
        return {}
    schema = _item_schema(spec.dtype, is_answer)
    for dim in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if isinstance(dim, int) and not is_answer:
            schema |= {"minItems": dim, "maxItems": dim}
    return schema


def _item_schema(dtype: str, is_answer: bool) -> Schema:
    if dtype == "string":
        return {"type": "string"}
    if dtype == "bool":
        return {"type": "boolean"}
    if dtype.startswith(("int", "uint")):
        return {"type": "integer", **_bounds(dtype)}
    if dtype == "map":
        return {}
    number: Schema = {"type": "number"}
    if dtype != "float64" and not is_answer:
        limit = {"float16": 65504.0, "float8_e5m2": 57344.0}.get(dtype, 3.4e38)
        number |= {"minimum": -limit, "maximum": limit}
    if not is_answer:
        return number
    return {"anyOf": [number, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}


def _bounds(dtype: str) -> Schema:
    signed, bits = not dtype.startswith("u"), int(dtype.lstrip("uint"))
    if signed:
        return {"minimum": -(2 ** (bits - 1)), "maximum": 2 ** (bits - 1) - 1}
    return {"minimum": 0, "maximum": 2**bits - 1}


def _without_any_of(schema: Any) -> Any:
    """Swagger 2.0 has no anyOf: its last branch stands for all (by name; numbers as such)."""
    if isinstance(schema, list):
        return [_without_any_of(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        branches = schema["anyOf"]
        numbers = [branch for branch in branches if branch.get("type") == "number"]
        return {} if numbers else _without_any_of(branches[-1])
    return {key: _without_any_of(value) for key, value in schema.items()}
