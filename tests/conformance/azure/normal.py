"""What two servers may differ in without a script or client noticing."""

from __future__ import annotations

import re

from tests.conformance.azure.model import Request

_CONNECTION = frozenset({"date", "server", "connection", "content-length", "transfer-encoding"})
_IDS = frozenset({"x-request-id", "x-ms-request-id"})
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXPIRES = re.compile(r"Expires=[^;]*")
_PATTERNS = {
    "x-ms-run-fn-exec-ms": re.compile(r"\d+\.\d{3}"),
    "x-ms-server-version": re.compile(r"azmlinfsrv/[\w.]+"),
}


def headers(request: Request, received: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that count, sorted: names in lower case, values that vary as placeholders."""
    given = {text for _, text in request.headers}
    kept = [(name.lower(), text) for name, text in received if name.lower() not in _CONNECTION]
    return tuple(sorted((name, _value(name, text, given)) for name, text in kept))


def _value(name: str, text: str, given: set[str]) -> str:
    if name in _IDS and text not in given and _UUID.fullmatch(text):
        return "<uuid>"
    if name == "allow":  # written from a set: its order changes with every process
        return ", ".join(sorted(text.split(", ")))
    if name == "set-cookie":
        return _EXPIRES.sub("Expires=<date>", text)
    pattern = _PATTERNS.get(name)
    return f"<{name}>" if pattern and pattern.fullmatch(text) else text
