"""What a training script logs, as what the tracker keeps: pure. numpy, pandas and torch are not
imported: their scalars and arrays have ``__float__``, ``item`` and ``tolist``.

A number that JSON does not have becomes the text NaN, Infinity or -Infinity.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from registry.errors import InvalidNameError

MAX_DEPTH = 32
SCHEMAS: Mapping[str, tuple[str, ...]] = {
    "confusion_matrix": ("class_labels", "matrix"),
    "accuracy_table": (
        "probability_tables",
        "percentile_tables",
        "probability_thresholds",
        "percentile_thresholds",
        "class_labels",
    ),
    "residuals": ("bin_edges", "bin_counts"),
    "predictions": ("bin_averages", "bin_errors", "bin_counts", "bin_edges"),
}
"""What ``data`` has in Azure ML's JSON of each kind."""


def number(name: str, value: Any) -> float:
    """A scalar as a float. Raises InvalidNameError for text and what is no number."""
    if type(value) is float:
        return value
    if isinstance(value, str | bytes):
        raise InvalidNameError(
            f"metric {name!a} must be a number, not text; use run.tag or run.log_param for that"
        )
    try:
        return float(value)
    except OverflowError:
        raise InvalidNameError(f"metric {name!a} is too large for a float") from None
    except (TypeError, ValueError):
        raise InvalidNameError(
            f"metric {name!a} must be a number, not {type(value).__name__}"
        ) from None


def list_document(name: str, values: Iterable[Any]) -> str:
    """A list."""
    found = plain(name, values)
    if not isinstance(found, list):
        raise InvalidNameError(f"{name!a} must be a list, not {type(values).__name__}")
    return dump(found)


def row_document(name: str, columns: Mapping[str, Any]) -> str:
    """A row: a value for each column."""
    if not columns:
        raise InvalidNameError(f"the row {name!a} has no columns")
    return dump(plain(name, dict(columns)))


def table_document(name: str, table: Mapping[str, Any]) -> str:
    """A table: columns of equal length (a single value is a column of one)."""
    if not isinstance(table, Mapping) or not table:
        raise InvalidNameError(f"the table {name!a} must be columns by name")
    columns = {}
    for key, column in table.items():
        cells = plain(name, column)
        columns[str(key)] = cells if isinstance(cells, list) else [cells]
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) > 1:
        raise InvalidNameError(f"the columns of the table {name!a} have different lengths")
    return dump(columns)


def schema_document(name: str, kind: str, value: Mapping[str, Any] | str) -> str:
    """A confusion matrix and so on, in Azure ML's JSON. Raises InvalidNameError where something
    is missing."""
    try:
        read = json.loads(value) if isinstance(value, str) else dict(value)
        data = read["data"]
        missing = [key for key in SCHEMAS[kind] if key not in data]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidNameError(
            f"{name!a} must be a JSON object with schema_type {kind!a} and data"
        ) from None
    if read.get("schema_type", kind) != kind:
        raise InvalidNameError(f"{name!a} says schema_type {read['schema_type']!a}, not {kind!a}")
    if missing:
        raise InvalidNameError(f"the data of {name!a} lacks {', '.join(missing)}")
    found = plain(name, {"schema_type": kind, "schema_version": "v1", **read})
    assert isinstance(found, dict)
    if kind == "confusion_matrix":
        _check_square(name, found["data"]["class_labels"], found["data"]["matrix"])
    return dump(found)


def plain(name: str, value: Any, depth: int = 0) -> Any:
    """As JSON has it. Raises InvalidNameError for what it cannot have."""
    if depth > MAX_DEPTH:
        raise InvalidNameError(f"{name!a} is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _not_finite(value)
    if isinstance(value, Mapping):
        return {str(key): plain(name, each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(name, each, depth + 1) for each in value]
    for method in ("tolist", "item", "isoformat"):
        convert = getattr(value, method, None)
        if callable(convert):
            return plain(name, convert(), depth + 1)
    raise InvalidNameError(f"{name!a} has a {type(value).__name__}, which cannot be kept as JSON")


def dump(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _not_finite(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _check_square(name: str, labels: Any, matrix: Any) -> None:
    size = len(labels) if isinstance(labels, list) else -1
    is_square = (
        isinstance(matrix, list)
        and len(matrix) == size
        and all(isinstance(row, list) and len(row) == size for row in matrix)
    )
    if not is_square:
        raise InvalidNameError(
            f"the matrix of {name!a} must have a row and a column for each class label"
        )
