"""What a run logged that is no number, as tables, pictures and text. Little is read, however much
there is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from registry.tracking import Metrics, RunValue
from runtime.tracking.logged import together

KEYS = 20
EACH = 4
"""Matrices, pictures and so on of one name."""
ROWS = 100
COLUMNS = 100
READ_CHARS = 100_000
"""Of one name."""
CELL_CHARS = 200
TEXT_CHARS = 20_000
JOINED = ("row", "table", "list")
Table = tuple[list[Any], list[list[Any]]]


def shown_values(metrics: Metrics, id: str) -> tuple[list[dict[str, Any]], int]:
    """Those of the first names, and how many names are left."""
    series = metrics.value_series(id)
    shown: list[dict[str, Any]] = []
    for each in series[:KEYS]:
        offset = 0 if each.kind in JOINED else max(0, each.count - EACH)
        values = metrics.values(id, each.key, offset=offset, max_chars=READ_CHARS)
        shown += _of_one_name(values, each.count - len(values))
    return shown, max(0, len(series) - KEYS)


def _of_one_name(values: Sequence[RunValue], unread: int) -> list[dict[str, Any]]:
    """Rows and lists as one; of others the newest. ``unread``: how many were not read."""
    if not values:
        return []
    documents = [_read(value.document) for value in values]
    kind, key = values[0].kind, values[0].key
    if kind in JOINED and all(isinstance(d, list if kind == "list" else dict) for d in documents):
        documents = [together(kind, documents)]
    several = [_shown(key, kind, document) for document in documents[-EACH:]]
    several[-1]["unread"] = unread + len(documents) - len(several)
    return several


def _read(document: str) -> Any:
    try:
        return json.loads(document)
    except (ValueError, RecursionError):
        return document


def _shown(key: str, kind: str, document: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"key": key, "kind": kind, "columns": None, "rows": [], "left": 0}
    made |= {"text": "", "picture": "", "unread": 0, "columns_left": 0}
    if kind == "image" and isinstance(document, dict):
        return {**made, "picture": str(document.get("artifact") or document.get("path") or "")}
    table = _table(kind, document)
    if table is None:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        return {**made, "text": text[:TEXT_CHARS]}
    columns, rows = table
    return {
        **made,
        "columns": [_cell(each) for each in columns[:COLUMNS]],
        "rows": [[_cell(each) for each in row[:COLUMNS]] for row in rows[:ROWS]],
        "left": max(0, len(rows) - ROWS),
        "columns_left": max(0, len(columns) - COLUMNS),
    }


def _table(kind: str, document: Any) -> Table | None:
    """Columns and rows; None of what is none, or not of the shape that its kind has."""
    if kind == "list" and isinstance(document, list):
        return ["number", "value"], [[number, each] for number, each in enumerate(document)]
    if not isinstance(document, dict):
        return None
    if kind in ("row", "table"):
        return _of_columns(document)
    data = document.get("data")
    make = SCHEMAS.get(kind)
    if make is None or not isinstance(data, dict):
        return None
    try:
        return make(data)
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _of_columns(document: dict[str, Any]) -> Table:
    columns = {key: each if isinstance(each, list) else [each] for key, each in document.items()}
    most = max((len(each) for each in columns.values()), default=0)
    rows = [
        [each[number] if number < len(each) else "" for each in columns.values()]
        for number in range(min(most, 100_000))
    ]
    return [*columns], rows


def _confusion(data: dict[str, Any]) -> Table:
    labels, matrix = _lists(data, "class_labels", "matrix")
    rows = [[label, *row] for label, row in zip(labels, matrix, strict=False)]
    return ["true \\ predicted", *labels], rows


def _residuals(data: dict[str, Any]) -> Table:
    edges, counts = _lists(data, "bin_edges", "bin_counts")
    return ["from", "to", "count"], [list(row) for row in zip(edges, edges[1:], counts)]  # noqa: B905


def _predictions(data: dict[str, Any]) -> Table:
    edges, *said = _lists(data, "bin_edges", "bin_counts", "bin_averages", "bin_errors")
    rows = [list(row) for row in zip(edges, edges[1:], *said)]  # noqa: B905
    return ["from", "to", "count", "average", "error"], rows


def _accuracy(data: dict[str, Any]) -> Table:
    names = ("probability_tables", "probability_thresholds", "class_labels")
    tables, thresholds, labels = _lists(data, *names)
    return (
        ["class", "threshold", "true +", "false +", "true -", "false -"],
        list(_counted(labels, thresholds, tables)),
    )


def _counted(labels: list[Any], thresholds: list[Any], tables: list[Any]) -> Iterator[list[Any]]:
    for label, table in zip(labels, tables, strict=False):
        for threshold, counts in zip(thresholds, table, strict=False):
            yield [label, threshold, *counts]


def _lists(data: dict[str, Any], *names: str) -> list[list[Any]]:
    """These, each of which must be a list. Raises KeyError, TypeError."""
    found = [data[name] for name in names]
    if not all(isinstance(each, list) for each in found):
        raise TypeError("not a list")
    return found


SCHEMAS = {
    "confusion_matrix": _confusion,
    "residuals": _residuals,
    "predictions": _predictions,
    "accuracy_table": _accuracy,
}


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= CELL_CHARS else f"{text[: CELL_CHARS - 1]}…"
