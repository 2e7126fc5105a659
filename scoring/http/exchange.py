"""One HTTP request as the routes see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qs

from starlette.types import Scope


@dataclass(frozen=True)
class Exchange:
    """A view of the ASGI scope, and the body once it was read."""

    scope: Scope
    body: bytes = b""

    @property
    def method(self) -> str:
        """GET, POST, ..."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path as it was sent, decoded."""
        return str(self.scope["path"])

    @property
    def raw_path(self) -> str:
        """The path as it was sent."""
        return bytes(self.scope["raw_path"]).decode("ascii", "replace")

    @property
    def query(self) -> str:
        """The raw query string."""
        return bytes(self.scope["query_string"]).decode("latin-1")

    @cached_property
    def header_list(self) -> list[tuple[str, str]]:
        """Every header line, names in lower case."""
        return [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self.scope["headers"]]

    @cached_property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name; repeated ones joined by a comma (RFC 9110, section 5.3)."""
        joined: dict[str, str] = {}
        for name, value in self.header_list:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        return joined

    def query_value(self, name: str) -> str | None:
        """The first value of ``name`` in the query, None when it is not there."""
        values = parse_qs(self.query, keep_blank_values=True).get(name)
        return values[0] if values else None
