"""Short ways to write requests down."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.azure.model import Request

JSON = ("Content-Type", "application/json")
Pairs = tuple[tuple[str, str], ...]


def send(
    name: str,
    method: str,
    target: str = "/score",
    body: bytes | None = None,
    *headers: tuple[str, str],
) -> Request:
    """Any request."""
    return Request(name, method, target, body, headers)


def text(body: str, *headers: tuple[str, str], name: str = "") -> Request:
    """POST /score with a text body."""
    return Request(name or f"post {body[:40]}", body=body.encode(), headers=headers)


def data(name: str, body: bytes, *headers: tuple[str, str]) -> Request:
    """POST /score with any bytes."""
    return Request(name, body=body, headers=headers)


def value(content: Any, *headers: tuple[str, str], name: str = "") -> Request:
    """POST /score with a JSON body that says so."""
    body = json.dumps(content)
    return Request(name or f"json {body[:60]}", body=body.encode(), headers=(JSON, *headers))


def get(
    query: str = "", *headers: tuple[str, str], path: str = "/score", name: str = ""
) -> Request:
    """GET, of /score unless said."""
    target = f"{path}?{query}" if query else path
    return Request(name or f"get {target[:60]}", "GET", target, None, headers)


def swagger(*versions: str) -> tuple[Request, ...]:
    """GET /swagger.json without and with each version."""
    asked = [get(f"version={version}", path="/swagger.json") for version in versions]
    return (get(path="/swagger.json"), *asked)


def multipart(*parts: tuple[str, str | None, str | None, bytes]) -> tuple[bytes, tuple[str, str]]:
    """A body of (name, file name, content type, content) and its Content-Type header."""
    lines: list[bytes] = []
    for field, filename, kind, content in parts:
        named = f'form-data; name="{field}"' + (f'; filename="{filename}"' if filename else "")
        lines += [b"--BOUND", f"Content-Disposition: {named}".encode()]
        lines += [f"Content-Type: {kind}".encode()] if kind else []
        lines += [b"", content]
    body = b"\r\n".join([*lines, b"--BOUND--", b""])
    return body, ("Content-Type", "multipart/form-data; boundary=BOUND")
