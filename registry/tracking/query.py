"""Conditions and orders of a search as SQL: pure. Every value is a parameter, never text of the
statement."""

from __future__ import annotations

from typing import Literal

from registry.tracking.filter import Attributes, Condition, Order, like_to_glob

Bound = str | int | float | None
Sql = tuple[str, list[Bound]]
How = Literal["each", "index"]
"""Whether a condition is looked up for each run, or the runs are found through its index."""
Segment = Literal["number", "nan", "absent"]
"""An order by a metric: first what has a number, then NaN, then what has no such metric."""
SEGMENTS: tuple[Segment, ...] = ("number", "nan", "absent")
ATTRIBUTES: Attributes = {
    "run_id": ("r.id", "text"),
    "run_name": ("r.name", "text"),
    "status": ("r.status", "text"),
    "start_time": ("r.started_ms", "number"),
    "end_time": ("r.ended_ms", "number"),
    "user_id": ("r.user", "text"),
    "created": ("r.started_ms", "number"),
    "experiment_id": ("CAST(r.experiment AS TEXT)", "text"),
    "experiment": ("e.name", "text"),
    "number": ("r.number", "number"),
    "source": ("r.source", "text"),
    "revision": ("r.revision", "text"),
    "parent": ("(SELECT p.id FROM runs p WHERE p.key = r.parent)", "text"),
    "duration": ("(r.ended_ms - r.started_ms)", "number"),
    **{
        f"{word}.{key}": (column, "text")
        for word in ("dataset", "datasets")
        for key, column in (
            ("name", "d.name"),
            ("digest", "d.digest"),
            ("context", "json_extract(d.tags, '$.\"mlflow.data.context\"')"),
        )
    },
}
"""What a filter may ask of a run, and an order, but for what its datasets say."""
OF_DATASETS = frozenset(name for name in ATTRIBUTES if name.startswith("dataset"))
_ALWAYS_THERE = frozenset(("r.id", "r.name", "r.status", "r.started_ms", "r.user", "r.source"))
_TABLES = {"metric": "run_metrics", "param": "run_params", "tag": "run_tags"}


def condition_sql(
    condition: Condition,
    attributes: Attributes,
    *,
    owner: str = "r.key",
    tags: str = "run_tags",
    how: How = "each",
) -> Sql:
    """What must be true of a row whose key is ``owner``."""
    if condition.of == "attribute" and condition.key in OF_DATASETS:
        sql, values = comparison_sql(attributes[condition.key][0], condition)
        return f"{owner} IN (SELECT d.run FROM run_datasets d WHERE {sql})", values
    if condition.of == "attribute":
        return _attribute_sql(condition, attributes[condition.key][0])
    table = tags if condition.of == "tag" else _TABLES[condition.of]
    column = "experiment" if table == "experiment_tags" else "run"
    if condition.comparison in ("IS NULL", "IS NOT NULL"):
        word = "NOT EXISTS" if condition.comparison == "IS NULL" else "EXISTS"
        return f"{word} (SELECT 1 FROM {table} WHERE {column} = {owner} AND key = ?)", [
            condition.key
        ]
    sql, values = comparison_sql("value", condition)
    if how == "index":
        return (
            f"{owner} IN (SELECT {column} FROM {table} WHERE key = ? AND {sql})",
            [condition.key, *values],
        )
    return (
        f"EXISTS (SELECT 1 FROM {table} WHERE {column} = {owner} AND key = ? AND {sql})",
        [condition.key, *values],
    )


def rarity_sql(condition: Condition, limit: int) -> Sql | None:
    """Counts to ``limit`` in how many runs the condition is true; None where no index tells."""
    if condition.of == "attribute" or condition.comparison in ("IS NULL", "IS NOT NULL"):
        return None
    sql, values = comparison_sql("value", condition)
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM {_TABLES[condition.of]}"
        f" WHERE key = ? AND {sql} LIMIT {limit:d})",
        [condition.key, *values],
    )


def comparison_sql(column: str, condition: Condition) -> Sql:
    """Compares ``column``. A NaN is NULL in the database, and unlike every number."""
    value, comparison = condition.value, condition.comparison
    if isinstance(value, tuple):
        marks = ", ".join("?" * len(value))
        return f"{column} {comparison} ({marks})", list(value)
    if comparison == "LIKE":
        assert isinstance(value, str)
        return f"{column} GLOB ?", [like_to_glob(value)]
    if comparison == "ILIKE":
        return f"{column} LIKE ?", [value]
    if comparison == "!=":
        return f"({column} IS NULL OR {column} <> ?)", [value]
    return f"{column} {comparison} ?", [value]


def order_sql(order: Order, number: int, attributes: Attributes) -> tuple[str, Sql]:
    """An ORDER BY term, and the JOIN that it needs. What has no value comes last either way, after
    a NaN."""
    direction = "DESC" if order.is_descending else "ASC"
    if order.of == "attribute":
        column = attributes[order.key][0]
        is_last = "" if column in _ALWAYS_THERE or order.is_descending else f"{column} IS NULL, "
        return f"{is_last}{column} {direction}", ("", [])
    name = f"o{number}"
    join = f"LEFT JOIN {_TABLES[order.of]} {name} ON {name}.run = r.key AND {name}.key = ?"
    term = f"{name}.run IS NULL, {name}.value IS NULL, {name}.value {direction}"
    return term, (join, [order.key])


def walk_sql(order: Order, segment: Segment) -> tuple[str, str, Sql]:
    """The runs in one segment of an order by a metric, param or tag, along its index: the FROM and
    ORDER BY of the statement, and its condition."""
    direction = "DESC" if order.is_descending else "ASC"
    table = _TABLES[order.of]
    if segment == "absent":
        absent = f"NOT EXISTS (SELECT 1 FROM {table} o WHERE o.run = r.key AND o.key = ?)"
        return "runs r", "r.started_ms DESC, r.key DESC", (absent, [order.key])
    is_nan = "IS NULL" if segment == "nan" else "IS NOT NULL"
    return (
        f"{table} o CROSS JOIN runs r ON r.key = o.run",  # the order of a CROSS JOIN is kept
        f"o.value {direction}, o.run DESC",
        (f"o.key = ? AND o.value {is_nan}", [order.key]),
    )


def next_value_sql(order: Order, value: Bound) -> Sql:
    """The value that is next after this one (None: the first) of those that any run has."""
    direction, beyond = ("DESC", "<") if order.is_descending else ("ASC", ">")
    is_next = "value IS NOT NULL" if value is None else f"value {beyond} ?"
    return (
        f"SELECT value FROM {_TABLES[order.of]} WHERE key = ? AND {is_next}"
        f" ORDER BY value {direction} LIMIT 1",
        [order.key] if value is None else [order.key, value],
    )


def _attribute_sql(condition: Condition, column: str) -> Sql:
    if column != "r.status":
        return comparison_sql(column, condition)
    value = condition.value
    lowered = tuple(map(str.lower, value)) if isinstance(value, tuple) else str(value).lower()
    return comparison_sql(
        column, Condition(condition.of, condition.key, condition.comparison, lowered)
    )
