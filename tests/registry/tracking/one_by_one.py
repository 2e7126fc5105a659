"""Filters and orders over records that are looked at one by one: what a search must find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from registry.tracking.filter import Attributes, Condition, like_to_glob, parse, parse_order

Value = str | float


class Facts(Protocol):
    """What a filter can ask of a record."""

    @property
    def attributes(self) -> Mapping[str, Value]:
        """By name."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """By key."""
        ...

    @property
    def params(self) -> Mapping[str, str]:
        """By key."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """By key."""
        ...


F = TypeVar("F", bound=Facts)


def select(
    records: Sequence[F], text: str, orders: Sequence[str], attributes: Attributes
) -> list[F]:
    """Those that a filter lets through, in this order; between equals as they came. Raises
    InvalidNameError."""
    conditions = parse(text, attributes)
    found = [each for each in records if all(_is_true(c, each) for c in conditions)]
    for order in [parse_order(text, attributes) for text in reversed(orders)]:
        there = [each for each in found if order.key in _side(order.of, each)]
        absent = [each for each in found if order.key not in _side(order.of, each)]
        there.sort(
            key=lambda each, o=order: _side(o.of, each)[o.key],  # type: ignore[misc]
            reverse=order.is_descending,
        )
        found = there + absent
    return found


def _side(of: str, record: Facts) -> Mapping[str, Value]:
    sides: dict[str, Mapping[str, Value]] = {
        "attribute": record.attributes,
        "tag": record.tags,
        "param": record.params,
        "metric": record.metrics,
    }
    return sides[of]


def _is_true(condition: Condition, record: Facts) -> bool:
    side, wanted = _side(condition.of, record), condition.value
    if condition.comparison == "IS NULL":
        return condition.key not in side
    if condition.comparison == "IS NOT NULL":
        return condition.key in side
    if condition.key not in side:  # what has no such tag has another one than that
        return condition.comparison in ("!=", "NOT IN")
    have = side[condition.key]
    if isinstance(wanted, tuple):
        return (have in wanted) == (condition.comparison == "IN")
    if isinstance(wanted, str) and condition.comparison in ("LIKE", "ILIKE"):
        glob, text = like_to_glob(wanted), str(have)
        if condition.comparison == "ILIKE":
            glob, text = glob.lower(), text.lower()
        return fnmatchcase(text, glob)
    return _compare(have, condition.comparison, wanted)


def _compare(have: Value, comparison: str, wanted: object) -> bool:
    if comparison in ("=", "!="):
        return (have == wanted) == (comparison == "=")
    assert isinstance(have, float | int)
    assert isinstance(wanted, float)
    match comparison:
        case "<":
            return have < wanted
        case "<=":
            return have <= wanted
        case ">":
            return have > wanted
    return have >= wanted
