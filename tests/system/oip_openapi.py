"""An OpenAPI document of the Open Inference Protocol's required part, for one model.

The published one (kserve/open-inference-protocol) cannot be used as it is: its path templates are
``${MODEL_NAME}``, which tools ask for as ``$name``; only versioned paths are in it, and no 404.
This one is written from the protocol's text, with what the text says of answers.
"""

from __future__ import annotations

from typing import Any

DATATYPES = [
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES"),
]
_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_DIMS = {"type": "array", "items": {"type": "integer", "minimum": -1}}
_DATA = {"type": "array", "items": {"type": ["number", "string", "boolean", "array"]}}
_FLAT = {"type": "array", "items": {"type": ["number", "string", "boolean"]}}


def document(
    model: str, version: str, inputs: list[str], outputs: list[str], example: dict[str, Any]
) -> dict[str, Any]:
    """OpenAPI 3.1; ``inputs`` and ``outputs`` are names, ``example`` is a request that fits."""
    infer = {
        "post": {
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": _request(inputs, outputs), "example": example}
                },
            },
            "responses": _responses(_response(model, outputs), 400),
        }
    }
    paths: dict[str, Any] = {
        "/v2": _get(_server()),
        "/v2/health/live": _get(_object(live={"const": True})),
        "/v2/health/ready": _get(_object(ready={"const": True})),
    }
    for prefix in (f"/v2/models/{model}", f"/v2/models/{model}/versions/{version}"):
        paths[prefix] = _get(_metadata(model))
        paths[f"{prefix}/ready"] = _get(_object(name={"const": model}, ready={"const": True}))
        paths[f"{prefix}/infer"] = infer
    paths["/v2/models/{name}"] = _named(_metadata(model), "name")
    paths["/v2/models/{name}/versions/{number}"] = _named(_metadata(model), "name", "number")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Open Inference Protocol", "version": "2"},
        "paths": paths,
    }


def _object(**properties: Any) -> dict[str, Any]:
    """All of these must be there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _responses(schema: Any, *errors: int) -> dict[str, Any]:
    error = _object(error={"type": "string", "minLength": 1})
    return {
        "200": {"description": "OK", "content": _json(schema)},
        **{str(code): {"description": "error", "content": _json(error)} for code in errors},
    }


def _get(schema: Any) -> dict[str, Any]:
    return {"get": {"responses": _responses(schema)}}


def _named(schema: Any, *names: str) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in names
    ]
    return {"parameters": parameters, "get": {"responses": _responses(schema, 400, 404)}}


def _server() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return _object(name=text, version=text, extensions={"type": "array", "items": text})


def _metadata(model: str) -> dict[str, Any]:
    tensors = {
        "type": "array",
        "items": _object(name={"type": "string"}, datatype={"enum": DATATYPES}, shape=_DIMS),
    }
    return _object(
        name={"const": model},
        versions={"type": "array", "items": {"type": "string"}},
        platform={"type": "string"},
        inputs=tensors,
        outputs=tensors,
    )


def _request(inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    parameters = {"type": ["object", "null"]}  # some clients send null
    tensor = _object(
        name={"enum": [*inputs, "other"]},
        shape=_SHAPE,
        datatype={"enum": DATATYPES},
        data=_DATA,
    )
    request = _object(inputs={"type": "array", "items": tensor})
    output = _object(name={"enum": [*outputs, "other"]})
    output["properties"]["parameters"] = parameters
    request["properties"] |= {
        "id": {"type": ["string", "null"]},
        "parameters": parameters,
        "outputs": {"type": ["array", "null"], "items": output},
    }
    return request


def _response(model: str, outputs: list[str]) -> dict[str, Any]:
    tensor = _object(name={"enum": outputs}, shape=_SHAPE, datatype={"enum": DATATYPES}, data=_FLAT)
    response = _object(
        model_name={"const": model},
        model_version={"type": "string"},
        outputs={"type": "array", "items": tensor, "minItems": 1},
    )
    response["properties"]["id"] = {"type": "string"}
    return response
