"""All that a run logged, as one dictionary, in the shapes that Azure ML gives."""

from __future__ import annotations

import json
from typing import Any

from registry.tracking import RunValue, Tracking


def all_metrics(tracking: Tracking, id: str) -> dict[str, Any]:
    """A number, or a list of numbers where several were logged; a list; a table's columns by name,
    of rows too; the path of an image in the run (of several, their paths); else the document."""
    found: dict[str, Any] = {}
    for key, metric in tracking.metrics.latest(id).items():
        if metric.count == 1:
            found[key] = metric.value
        else:
            found[key] = [point.value for point in tracking.metrics.history(id, key)]
    values: dict[str, list[RunValue]] = {}
    for value in tracking.metrics.values(id):
        values.setdefault(value.key, []).append(value)
    for key, several in values.items():
        found.setdefault(key, joined(several))
    return found


def joined(values: list[RunValue]) -> Any:
    """Several values of one name as one."""
    return together(values[0].kind, [json.loads(value.document) for value in values])


def together(kind: str, documents: list[Any]) -> Any:
    """Several documents of one name as one."""
    if kind == "list":
        return [each for document in documents for each in document]
    if kind in ("row", "table"):
        return _columns(documents)
    if kind == "image":
        documents = [document["path"] for document in documents]
    return documents[0] if len(documents) == 1 else documents


def _columns(documents: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows and tables below each other; a column that one lacks has None there."""
    columns: dict[str, list[Any]] = {}
    count = 0
    for document in documents:
        cells = {k: v if isinstance(v, list) else [v] for k, v in document.items()}
        height = max(map(len, cells.values()), default=0)
        for key in (*columns, *(k for k in cells if k not in columns)):
            column = columns.setdefault(key, [None] * count)
            column += [*cells.get(key, ()), *[None] * (height - len(cells.get(key, ())))]
        count += height
    return columns
