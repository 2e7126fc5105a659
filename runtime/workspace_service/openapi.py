"""The table of routes as an OpenAPI 3.1 document. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.responses import Response

from runtime.workspace_service.route import Route
from runtime.workspace_service.table import Table

_NAME = re.compile(r"\{(\w+)\}")
REFERENCES = "#/components/schemas/{name}"
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}


def document(table: Table) -> dict[str, Any]:
    """What ``/openapi.json`` answers."""
    types = [route.arguments for route in table.routes] + [
        route.answer for route in table.routes if _is_document(route)
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCES)
    arguments = dict(zip(table.routes, schemas, strict=False))
    answers = dict(
        zip(filter(_is_document, table.routes), schemas[len(table.routes) :], strict=True)
    )
    paths: dict[str, dict[str, Any]] = {}
    templates: dict[str, str] = {}
    for route in table.routes:
        template = table.template(route).replace(":path}", "}")
        # Of /runs/{id} and /runs/{ref} a document has one, under the name that came first.
        shown = templates.setdefault(_NAME.sub("{}", template), template)
        names = dict(zip(_NAME.findall(template), _NAME.findall(shown), strict=True))
        found = _resolved(arguments[route], components)
        paths.setdefault(shown, {})[route.method.lower()] = _operation(
            route, found, answers.get(route), names
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Inferry", "version": version("inferry")},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _is_document(route: Route) -> bool:
    answer = route.answer
    return not (inspect.isclass(answer) and issubclass(answer, Response | type(None)))


def _resolved(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = components[name] if name else schema
    return found


def _operation(
    route: Route,
    arguments: Mapping[str, Any],
    answer: Any,
    names: Mapping[str, str],
) -> dict[str, Any]:
    properties: Mapping[str, Any] = arguments.get("properties", {})
    required = set(arguments.get("required", ()))
    in_query = route.method in ("GET", "DELETE") or route.is_async
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.noun],
        "x-role": route.role,
        "parameters": list(_parameters(route, properties, required, names, in_query)),
        "responses": {**_answered(route, answer), "4XX": _refused(), "5XX": _refused()},
    }
    rest = {name: each for name, each in properties.items() if name not in route.path_names}
    if not in_query and rest:
        needed = sorted(required & set(rest))
        schema: dict[str, Any] = {
            "type": "object",
            "properties": rest,
            "additionalProperties": False,
        }
        if needed:
            schema["required"] = needed
        made["requestBody"] = {
            "required": bool(needed),
            "content": {"application/json": {"schema": schema}},
        }
    elif route.is_async and route.method not in ("GET", "DELETE"):
        made["requestBody"] = {
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            }
        }
    return made


def _parameters(
    route: Route,
    properties: Mapping[str, Any],
    required: set[str],
    names: Mapping[str, str],
    in_query: bool,
) -> Iterator[dict[str, Any]]:
    if "workspace" in names:
        yield {"name": "workspace", "in": "path", "required": True, "schema": {"type": "string"}}
    for name, schema in properties.items():
        if name in route.path_names:
            yield {"name": names[name], "in": "path", "required": True, "schema": schema}
        elif in_query:
            yield {"name": name, "in": "query", "required": name in required, "schema": schema}


def _answered(route: Route, answer: Any) -> dict[str, Any]:
    if answer is None:
        status = "204" if route.answer is type(None) else str(route.status)
        return {status: {"description": "done"}}
    described: dict[str, Any] = {
        "description": "done",
        "content": {"application/json": {"schema": answer}},
    }
    if route.is_paged:
        said = "rel=next: the address of the next page; without it this is the last one"
        described["headers"] = {"Link": {"description": said, "schema": {"type": "string"}}}
    return {str(route.status): described}


def _refused() -> dict[str, Any]:
    return {
        "description": "refused",
        "content": {"application/json": {"schema": {"$ref": REFERENCES.format(name="Error")}}},
    }
