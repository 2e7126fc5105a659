"""Searches in MLflow's words among what is no run: names of models, versions, logged models. As one
SQL statement, of which only the page's records are read. ``plan`` and ``statement`` are pure.

A page's token says how far the search came, and which record was the newest when it began: what is
made meanwhile shifts nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from registry.errors import InvalidNameError
from registry.pages import Page
from registry.tracking import filter as filters
from registry.tracking.filter import Attributes, Condition, Of, Order
from registry.tracking.query import Bound, Sql, comparison_sql
from registry.tracking.search import read_token

MAX_PAGE_BYTES = 16 * 1024 * 1024
"""A page ends before its limit where its records are as large as that."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The tags, params or metrics of a record: the rows ``t`` of a table ``of`` it."""

    table: str
    of: str


@dataclass(frozen=True, slots=True)
class Records:
    """What is searched. ``columns`` say which record it is; ``number`` grows from record to record,
    and ``newest`` is the statement that gives the largest; ``order`` is that without another."""

    noun: str
    columns: str
    source: str
    where: str
    number: str
    newest: str
    order: str
    attributes: Attributes
    pairs: Mapping[Of, Pairs]


@dataclass(frozen=True, slots=True)
class Search:
    """What to find."""

    conditions: tuple[Condition, ...]
    orders: tuple[Order, ...]
    limit: int
    offset: int
    newest: int | None


RowsOf = Callable[[sqlite3.Connection, Search, int, str], list[sqlite3.Row]]


def plan(
    records: Records, *, filter: str, order_by: Sequence[str], limit: int, token: str | None
) -> Search:
    """A search. Raises InvalidNameError for what cannot be read."""
    if limit <= 0:
        raise InvalidNameError(f"a page has 1 or more {records.noun}, not {limit}")
    newest, offset = (None, 0) if not token else read_token(token)
    return Search(
        filters.parse(filter, records.attributes),
        filters.orders(order_by, records.attributes),
        limit,
        offset,
        newest,
    )


def find(
    connection: sqlite3.Connection,
    records: Records,
    search: Search,
    read: Callable[[sqlite3.Row], T],
    size_of: Callable[[T], int],
    where: str = "1",
    rows_of: RowsOf | None = None,
) -> Page[T]:
    """One page of those for which ``where`` is true; ``read`` makes the record of a row,
    ``size_of`` says how many bytes it is about; ``rows_of`` is a faster way to what ``statement``
    gives."""
    newest = search.newest
    if newest is None:
        newest = int(connection.execute(records.newest).fetchone()[0])
    if rows_of is None:
        rows = connection.execute(*statement(records, search, newest, where)).fetchall()
    else:
        rows = rows_of(connection, search, newest, where)
    found: list[T] = []
    size = 0
    for row in rows[: search.limit]:
        found.append(read(row))
        size += size_of(found[-1])
        if size > MAX_PAGE_BYTES:
            break
    has_more = len(found) < len(rows)
    return Page(tuple(found), f"{newest}-{search.offset + len(found)}" if has_more else None)


def statement(records: Records, search: Search, newest: int, where: str = "1") -> Sql:
    """Gives the columns of one record more than the page has."""
    conditions = [records.where, where, f"{records.number} <= ?"]
    values: list[Bound] = [newest]
    for condition in search.conditions:
        sql, bound = _condition(records, condition)
        conditions.append(sql)
        values += bound
    terms = []
    for order in search.orders:
        sql, bound = _order(records, order)
        terms += [sql] if sql else []
        values += bound
    return (
        f"SELECT {records.columns} FROM {records.source} WHERE {' AND '.join(conditions)}"
        f" ORDER BY {', '.join([*terms, records.order])} LIMIT ? OFFSET ?",
        [*values, search.limit + 1, search.offset],
    )


def _condition(records: Records, condition: Condition) -> Sql:
    """What has no such tag has another one than any."""
    comparison = condition.comparison
    if condition.of == "attribute":
        return comparison_sql(records.attributes[condition.key][0], condition)
    is_unlike = comparison in ("!=", "NOT IN", "IS NULL")
    pairs = records.pairs.get(condition.of)
    if pairs is None:
        return ("1" if is_unlike else "0"), []
    there = f"EXISTS (SELECT 1 FROM {pairs.table} t WHERE {pairs.of} AND t.key = ?"
    if comparison in ("IS NULL", "IS NOT NULL"):
        return f"{'NOT ' * is_unlike}{there})", [condition.key]
    like = {"!=": "=", "NOT IN": "IN"}.get(comparison, comparison)
    sql, bound = comparison_sql(
        "t.value", Condition(condition.of, condition.key, like, condition.value)
    )
    return f"{'NOT ' * is_unlike}{there} AND {sql})", [condition.key, *bound]


def _order(records: Records, order: Order) -> Sql:
    """What has no value comes last either way, after a NaN."""
    direction = "DESC" if order.is_descending else "ASC"
    if order.of == "attribute":
        return f"{records.attributes[order.key][0]} {direction}", []
    pairs = records.pairs.get(order.of)
    if pairs is None:
        return "", []
    rows = f"FROM {pairs.table} t WHERE {pairs.of} AND t.key = ?"
    value = f"(SELECT t.value {rows})"
    return (
        f"NOT EXISTS (SELECT 1 {rows}), {value} IS NULL, {value} {direction}",
        [order.key] * 3,
    )
