"""What is logged, as parts that each fit a request. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry.tracking import Point, Value
from runtime.tracking.keeper import Batch

REQUEST_ITEMS = 20_000
REQUEST_CHARS = 8 * 1024 * 1024
"""Of one request, which a service takes up to 16 MiB of."""
POINT_BYTES = 40
"""Of a point at most, besides its name."""


def portions(points: Sequence[Point], values: Sequence[Value]) -> Iterator[Batch]:
    """As many as fit a request. Pure."""
    longest = max((len(key.encode()) for key in {point[0] for point in points}), default=0)
    most = min(REQUEST_ITEMS, REQUEST_CHARS // (longest + POINT_BYTES))
    for start in range(0, len(points), most):
        yield points[start : start + most], ()
    some: list[Value] = []
    chars = 0
    for value in values:
        if some and (chars + len(value[3]) > REQUEST_CHARS or len(some) >= REQUEST_ITEMS):
            yield (), some
            some, chars = [], 0
        some.append(value)
        chars += len(value[3])
    if some:
        yield (), some
