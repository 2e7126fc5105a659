"""Lists of a workspace elsewhere, page after page.

for model in walk(client, routes.list_models, name="digits"): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

from registry.pages import MAX_LIMIT, Page, check_count
from runtime.errors import ServiceError
from runtime.remote.client import ServiceClient

T = TypeVar("T")


def walk(
    client: ServiceClient,
    function: Callable[..., Page[T]],
    limit: int | None = None,
    **given: Any,
) -> Iterator[T]:
    """All items of a list, or the first ``limit``; a page is asked for when it is needed. The
    first request says nothing of pages unless it must, so that a service of before them answers."""
    return islice(_all(client, function, check_count(limit), given), limit)


def _all(
    client: ServiceClient,
    function: Callable[..., Page[T]],
    limit: int | None,
    given: dict[str, Any],
) -> Iterator[T]:
    if limit is not None and limit < MAX_LIMIT:
        given = {**given, "limit": limit}
    while True:
        page: Page[T] = client.ask(function, **given)
        yield from page.items
        if page.next_token is None:
            return
        if not page.items or page.next_token == given.get("token"):  # a service may lie
            raise ServiceError(f"{client.place.root} gives a list that does not go on")
        given = {**given, "token": page.next_token}
