"""Arguments in the query of an address, and the header that says what to ask for the next page of a
list (RFC 8288). Pure.

    Link: <?limit=100&token=WyJt...>; rel="next"

Its address is relative to that of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from runtime.workspace_service.route import Route


def next_link(route: Route, values: Mapping[str, Any], token: str) -> str:
    """Asks the same as ``values``, from ``token`` on."""
    return f'<?{urlencode(query_of(route, {**values, "token": token}))}>; rel="next"'


def query_of(route: Route, values: Mapping[str, object]) -> list[tuple[str, str]]:
    """What of a route's arguments stands in the query of an address."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if name in route.path_names or value is None:
            continue
        for each in value if isinstance(value, list | tuple) else (value,):
            pairs.append((name, str(each).lower() if isinstance(each, bool) else str(each)))
    return pairs
