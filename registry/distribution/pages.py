"""A page of a long list: how many, after which. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from registry.distribution.errors import Code, DistributionError

MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class PageQuery:
    """At most ``n`` (None: as many as a page may have) after ``last``."""

    n: int | None = None
    last: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """``items`` in the order of their bytes; ``next`` asks for those that follow."""

    items: tuple[str, ...]
    next: PageQuery | None


def parse_page(n: str | None, last: str | None) -> PageQuery:
    """The query as a client wrote it. Raises PAGINATION_NUMBER_INVALID."""
    if n is not None and re.fullmatch(r"[0-9]{1,9}", n) is None:
        raise DistributionError(
            Code.PAGINATION_NUMBER_INVALID, "n is a number of items, not below 0"
        )
    return PageQuery(None if n is None else int(n), last or "")


def page(items: Iterable[str], query: PageQuery) -> Page:
    """That page of ``items``. With n=0 it is empty, and nothing follows."""
    count = MAX_PAGE if query.n is None else min(query.n, MAX_PAGE)
    following: Sequence[str] = sorted({item for item in items if item > query.last})
    found = tuple(following[:count])
    has_more = 0 < count < len(following)
    return Page(found, PageQuery(count, found[-1]) if has_more else None)
