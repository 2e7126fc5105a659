"""Finds runs: filter, order and pages, as SQL within a read transaction.

A page's token says how far the search came, and which run was the newest when it began: runs that
begin meanwhile shift nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from registry.errors import InvalidNameError
from registry.tracking import filter as filters
from registry.tracking import run_rows
from registry.tracking.filter import Condition, Order
from registry.tracking.metrics import latest_of
from registry.tracking.query import (
    ATTRIBUTES,
    OF_DATASETS,
    SEGMENTS,
    Bound,
    condition_sql,
    next_value_sql,
    order_sql,
    rarity_sql,
    walk_sql,
)
from registry.tracking.records import RunPage, RunRecord, View

MAX_LIMIT = 50_000
GROUPS = 16
"""Values of the first order that are gone through one by one, where many runs share each."""
RARE = 2000
"""A condition that is true in fewer runs is answered by its index; one that is true in more will
soon be met by looking at runs one after the other."""
_VIEWS: dict[View, str] = {
    "active": "r.is_deleted = 0",
    "deleted": "r.is_deleted > 0",
    "all": "r.is_deleted >= 0",
}
_NEWEST_FIRST = "r.started_ms DESC, r.key DESC"


@dataclass(frozen=True, slots=True)
class Search:
    """What to find; ``experiments`` are ids, None means all."""

    conditions: tuple[Condition, ...]
    orders: tuple[Order, ...]
    experiments: tuple[int, ...] | None
    view: View
    limit: int
    offset: int
    newest: int | None
    is_part: bool = False
    """Of one with more orders: what those leave equal is the newest first, as there."""


def plan(
    *,
    filter: str,
    order_by: Sequence[str],
    experiments: Sequence[int] | None,
    view: View,
    limit: int,
    token: str | None,
) -> Search:
    """A search, pure. Raises InvalidNameError for what cannot be read."""
    if view not in _VIEWS:
        raise InvalidNameError(f"{view!a} is no view; known: {', '.join(_VIEWS)}")
    if not 0 < limit <= MAX_LIMIT:
        raise InvalidNameError(f"a page has 1 to {MAX_LIMIT} runs, not {limit}")
    newest, offset = (None, 0) if not token else read_token(token)
    orders = filters.orders(order_by, ATTRIBUTES)
    if any(order.key in OF_DATASETS for order in orders if order.of == "attribute"):
        raise InvalidNameError("runs have no order by their datasets: a run can have several")
    return Search(
        conditions=filters.parse(filter, ATTRIBUTES),
        orders=orders,
        experiments=None if experiments is None else tuple(experiments),
        view=view,
        limit=limit,
        offset=offset,
        newest=newest,
    )


def find(connection: sqlite3.Connection, search: Search) -> RunPage:
    """One page."""
    newest = search.newest
    if newest is None:
        row = connection.execute("SELECT ifnull(max(key), 0) FROM runs").fetchone()
        newest = int(row[0])
    keys = _keys(connection, search, newest)
    has_more = len(keys) > search.limit
    runs = records(connection, keys[: search.limit])
    token = f"{newest}-{search.offset + search.limit}" if has_more else None
    return RunPage(tuple(runs), token)


def _keys(connection: sqlite3.Connection, search: Search, newest: int) -> list[int]:
    """Of the page's runs and one more, by the way that looks at the fewest."""
    rare = _rare(connection, search.conditions)
    if _is_wide(connection, search, rare):
        if len(search.orders) == 1:
            return _walk(connection, search, newest)
        if (found := _by_groups(connection, search, newest)) is not None:
            return found
    return [row[0] for row in connection.execute(*statement(search, newest, rare))]


def statement(search: Search, newest: int, rare: Sequence[bool]) -> tuple[str, list[Bound]]:
    """The statement of a search, pure; ``rare`` says of each condition how it is answered. It asks
    for one run more than the page has."""
    joins: list[str] = []
    join_values: list[Bound] = []
    terms = []
    for number, order in enumerate(search.orders):
        term, (join, bound) = order_sql(order, number, ATTRIBUTES)
        terms.append(term)
        joins += [join] if join else []
        join_values += bound
    where, bounds = _where(search, newest, rare)
    return (
        f"SELECT r.key FROM runs r {_names(search)} {' '.join(joins)} WHERE {where}"
        f" ORDER BY {', '.join([*terms, _last_term(search)])} LIMIT ? OFFSET ?",
        [*join_values, *bounds, search.limit + 1, search.offset],
    )


def _where(search: Search, newest: int, rare: Sequence[bool]) -> tuple[str, list[Bound]]:
    """With a condition that is rare, the runs are found through its index: a ``+`` keeps SQLite
    from going through all runs by another one."""
    plus = "+" if any(rare) else ""
    where = [plus + _VIEWS[search.view], f"{plus}r.key <= ?"]
    values: list[Bound] = [newest]
    if search.experiments is not None:
        ids = ", ".join(f"{id:d}" for id in search.experiments)
        where.append(f"{plus}r.experiment IN ({ids})")
    for condition, is_rare in zip(search.conditions, rare, strict=True):
        sql, found = condition_sql(condition, ATTRIBUTES, how="index" if is_rare else "each")
        where.append(sql)
        values += found
    return " AND ".join(where), values


def _names(search: Search) -> str:
    keys = [*(c.key for c in search.conditions), *(o.key for o in search.orders)]
    return "JOIN experiments e ON e.id = r.experiment" if "experiment" in keys else ""


def _last_term(search: Search) -> str:
    """What decides between equals, in the direction in which an index can give it."""
    orders = () if search.is_part else search.orders
    if len(orders) == 1 and orders[0].key == "status" and orders[0].of == "attribute":
        return "r.started_ms ASC, r.key ASC" if orders[0].is_descending else _NEWEST_FIRST
    if len(orders) == 1 and orders[0].of == "attribute":
        return "r.key DESC" if orders[0].is_descending else "r.key ASC"
    return _NEWEST_FIRST


def _is_wide(connection: sqlite3.Connection, search: Search, rare: Sequence[bool]) -> bool:
    """Whether to go along the index of the metric, param or tag that the search orders by first:
    where that soon has a page, since many runs are wanted."""
    if not search.orders or search.orders[0].of == "attribute" or any(rare):
        return False
    where, values = _where(replace(search, conditions=()), 2**62, ())
    counted = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM runs r WHERE {where} LIMIT {RARE})", values
    )
    return bool(counted.fetchone()[0] >= RARE)


def _by_groups(connection: sqlite3.Connection, search: Search, newest: int) -> list[int] | None:
    """By several orders: the runs with the first values of the first one, and where many share a
    value, those with each value in turn by the other orders. None where that gives no page soon."""
    if search.offset >= RARE:  # what was passed would be counted again and again
        return None
    first = search.orders[0]
    where, values = _where(search, newest, [False] * len(search.conditions))
    source, order, (condition, bound) = walk_sql(first, "number")
    last = connection.execute(
        f"SELECT o.value FROM {source} {_names(search)} WHERE {condition} AND {where}"
        f" ORDER BY {order} LIMIT 1 OFFSET ?",
        [*bound, *values, search.offset + search.limit],
    ).fetchone()
    if last is None:
        return None
    narrow = _with(search, Condition(first.of, first.key, _until(first), last[0]))
    rare = _rare(connection, narrow.conditions)
    if rare[-1]:
        return [row[0] for row in connection.execute(*statement(narrow, newest, rare))]
    keys: list[int] = []
    offset, value = search.offset, None
    for _ in range(GROUPS):
        row = connection.execute(*next_value_sql(first, value)).fetchone()
        if row is None:
            return None
        value = row[0]
        group = replace(
            _with(search, Condition(first.of, first.key, "=", value)),
            orders=search.orders[1:],
            limit=search.limit - len(keys),
            offset=offset,
            is_part=True,
        )
        found = _keys(connection, group, newest)
        keys += found
        if len(keys) > search.limit:
            return keys
        if offset and not found:
            where, values = _where(group, newest, _rare(connection, group.conditions))
            passed = connection.execute(
                f"SELECT count(*) FROM runs r {_names(search)} WHERE {where}", values
            )
            offset -= passed.fetchone()[0]
        else:
            offset = 0
    return None


def _with(search: Search, condition: Condition) -> Search:
    return replace(search, conditions=(*search.conditions, condition))


def _until(order: Order) -> str:
    return ">=" if order.is_descending else "<="


def _walk(connection: sqlite3.Connection, search: Search, newest: int) -> list[int]:
    where, values = _where(search, newest, [False] * len(search.conditions))
    keys: list[int] = []
    offset = search.offset
    for segment in SEGMENTS:
        source, order, (condition, bound) = walk_sql(search.orders[0], segment)
        if search.is_part and segment != "absent":
            order = f"{order.partition(',')[0]}, {_NEWEST_FIRST}"
        body = f"FROM {source} {_names(search)} WHERE {condition} AND {where}"
        given = [*bound, *values]
        wanted = search.limit + 1 - len(keys)
        found = connection.execute(
            f"SELECT r.key {body} ORDER BY {order} LIMIT ? OFFSET ?", [*given, wanted, offset]
        ).fetchall()
        keys += [row[0] for row in found]
        if len(keys) > search.limit:
            break
        if offset and not found:
            passed = connection.execute(f"SELECT count(*) {body}", given).fetchone()[0]
            offset -= passed
        else:
            offset = 0
    return keys


def records(connection: sqlite3.Connection, keys: Sequence[int]) -> list[RunRecord]:
    """The records of these runs, in their order."""
    return run_rows.read(connection, keys, latest_of(connection, keys)) if keys else []


def _rare(connection: sqlite3.Connection, conditions: Sequence[Condition]) -> list[bool]:
    found = []
    for condition in conditions:
        counted = rarity_sql(condition, RARE)
        found.append(counted is not None and connection.execute(*counted).fetchone()[0] < RARE)
    return found


def read_token(token: str) -> tuple[int, int]:
    """The newest when the search began, and how many its pages had. Raises InvalidNameError."""
    newest, dash, offset = token.partition("-")
    if not dash or not all(
        part.isascii() and part.isdigit() and len(part) < 19 for part in (newest, offset)
    ):
        raise InvalidNameError(f"{ascii(token)[:60]} is no page token of a search")
    return int(newest), int(offset)
