"""What a search for logged models asks of the database, and the way to a page among very many."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from registry.tracking.filter import Order
from registry.tracking.query import SEGMENTS, Bound, Segment
from registry.tracking.record_search import Pairs, Records, Search, statement

LOGGED = Records(
    noun="logged models",
    columns="m.key",
    source="logged_models m JOIN runs r ON r.key = m.run",
    where="m.is_deleted = 0 AND r.is_deleted = 0",
    number="m.key",
    newest="SELECT ifnull(max(key), 0) FROM logged_models",
    order="m.key DESC",
    attributes={
        "name": ("m.name", "text"),
        "model_id": ("m.id", "text"),
        "model_type": ("m.type", "text"),
        "status": ("upper(m.status)", "text"),
        "source_run_id": ("r.id", "text"),
        "experiment_id": ("CAST(r.experiment AS TEXT)", "text"),
        "creation_timestamp": ("m.created_ms", "number"),
        "creation_time": ("m.created_ms", "number"),
        "last_updated_timestamp": ("m.updated_ms", "number"),
    },
    pairs={
        "tag": Pairs("logged_model_tags", "t.model = m.key"),
        "param": Pairs("logged_model_params", "t.model = m.key"),
        "metric": Pairs("logged_model_metrics", "t.model = m.key"),
    },
)
"""Those that are not hidden, the newest first."""


def in_experiments(experiments: Sequence[int]) -> str:
    """A condition."""
    return f"r.experiment IN ({', '.join(f'{id:d}' for id in experiments)})"


RUNS = 2000
"""Of the experiments, from which on logged models are looked at one after the other until the page
is full, and not all sorted."""
_FROM = "logged_models m CROSS JOIN runs r ON r.key = m.run"  # the order of a CROSS JOIN is kept
_WIDE = replace(LOGGED, source=_FROM)


def are_many(connection: sqlite3.Connection, experiments: Sequence[int]) -> bool:
    """Whether the experiments have at least RUNS runs."""
    counted = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM runs r WHERE {in_experiments(experiments)}"
        f" LIMIT {RUNS})"
    )
    return bool(counted.fetchone()[0] >= RUNS)


def rows_of_many(
    connection: sqlite3.Connection, search: Search, newest: int, where: str
) -> list[sqlite3.Row]:
    """As ``statement`` gives them: along the index of the metric that they are ordered by, or from
    the newest on."""
    orders = search.orders
    if not orders or len(orders) > 1 or orders[0].of != "metric" or search.conditions:
        records = LOGGED if orders else _WIDE
        return connection.execute(*statement(records, search, newest, where)).fetchall()
    rows: list[sqlite3.Row] = []
    offset = search.offset
    for segment in SEGMENTS:
        body, order, bound = _segment(orders[0], segment, newest, where)
        wanted = search.limit + 1 - len(rows)
        found = connection.execute(
            f"SELECT {LOGGED.columns} {body} ORDER BY {order} LIMIT ? OFFSET ?",
            [*bound, wanted, offset],
        ).fetchall()
        rows += found
        if len(rows) > search.limit:
            break
        if offset and not found:
            offset -= connection.execute(f"SELECT count(*) {body}", bound).fetchone()[0]
        else:
            offset = 0
    return rows


def _segment(
    order: Order, segment: Segment, newest: int, where: str
) -> tuple[str, str, list[Bound]]:
    """FROM and WHERE, ORDER BY, and what is bound."""
    direction = "DESC" if order.is_descending else "ASC"
    if segment == "absent":
        source, by = _FROM, LOGGED.order
        term = (
            "NOT EXISTS (SELECT 1 FROM logged_model_metrics o WHERE o.model = m.key AND o.key = ?)"
        )
    else:
        source = (
            "logged_model_metrics o CROSS JOIN logged_models m ON m.key = o.model"
            " CROSS JOIN runs r ON r.key = m.run"
        )
        by = f"o.value {direction}, o.model DESC"
        term = f"o.key = ? AND o.value IS {'NOT ' * (segment == 'number')}NULL"
    conditions = f"{term} AND {LOGGED.where} AND {where} AND {LOGGED.number} <= ?"
    return f"FROM {source} WHERE {conditions}", by, [order.key, newest]
