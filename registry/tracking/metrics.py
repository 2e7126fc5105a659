"""Metrics and other values of runs as rows, and how they are read."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from registry.database import Database
from registry.errors import NotFoundError
from registry.tracking.points import BLOCK, Series, keys_of, plan, stored_of, value_of
from registry.tracking.records import (
    ChartPoint,
    Metric,
    MetricPoint,
    Point,
    RunValue,
    Value,
    ValueSeries,
)
from registry.tracking.run_rows import key_of

MAX_CHART_POINTS = 10_000
PointRow = tuple[float | None, int, int]
NEWEST = 64
"""Points of a series among which one that is sent again is looked for, besides as many as come."""
MAX_READ = 20_000
"""Points of a series that a chart reads one by one."""


class Metrics:
    """Reads what the runs of one workspace logged. A run is named by its id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, id: str) -> dict[str, Metric]:
        """All series of a run as they are now, by key. Raises NotFoundError."""
        with self._database.read() as connection:
            run = key_of(connection, id)
            return latest_of(connection, [run]).get(run, {})

    def history(
        self, id: str, key: str, *, offset: int = 0, limit: int | None = None
    ) -> list[MetricPoint]:
        """The values of one series in the order of arrival, from number ``offset`` on. Raises
        NotFoundError where the run has no such metric."""
        rows = self.rows(id, key, offset=offset, limit=limit)
        return [MetricPoint(value_of(value), step, at_ms) for value, step, at_ms in rows]

    def rows(
        self, id: str, key: str, *, offset: int = 0, limit: int | None = None
    ) -> list[PointRow]:
        """As ``history``, as value (None for NaN), step and time: 100,000 are read in a quarter of
        the time."""
        start = min(max(0, offset), 2**62)
        end = 2**62 if limit is None else min(start + max(0, limit), 2**62)
        with self._database.read() as connection:
            run, metric, _ = _series(connection, id, key)
            rows = connection.execute(
                "SELECT value, step, at_ms FROM metric_points"
                " WHERE run = ? AND metric = ? AND seq >= ? AND seq < ? ORDER BY seq",
                (run, metric, start, end),
            )
            rows.row_factory = None
            return rows.fetchall()

    def chart(self, id: str, key: str, points: int = 500) -> list[ChartPoint]:
        """The series in about ``points`` points, however long it is; extremes stay to be seen.
        Raises NotFoundError."""
        points = max(1, min(points, MAX_CHART_POINTS))
        with self._database.read() as connection:
            run, metric, count = _series(connection, id, key)
            query, width = _chart_query(count, points)
            rows = connection.execute(query, (run, metric, width))
            rows.row_factory = None
            return [
                ChartPoint(step, at_ms, number, value_of(last), value_of(low), value_of(high))
                for step, at_ms, number, last, low, high in rows
            ]

    def value_series(self, id: str) -> list[ValueSeries]:
        """Which lists, tables, images and so on there are, by key; rows that were mixed with tables
        count as rows. Raises NotFoundError."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT key, min(kind), count(*) FROM run_values WHERE run = ?"
                " GROUP BY key ORDER BY key",
                (key_of(connection, id),),
            )
            return [ValueSeries(*row) for row in rows]

    def values(
        self, id: str, key: str | None = None, *, offset: int = 0, max_chars: int | None = None
    ) -> list[RunValue]:
        """Lists, rows, tables, images and so on, by key and in the order of arrival, from number
        ``offset`` on; one, and then no more than have ``max_chars`` in all. Raises NotFoundError
        where there is no such run."""
        found: list[RunValue] = []
        chars = 0
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT key, kind, at_ms, document FROM run_values"
                " WHERE run = ?1 AND (?2 IS NULL OR key = ?2) ORDER BY key, seq LIMIT -1 OFFSET ?3",
                (key_of(connection, id), key, offset),
            )
            for row in rows:
                value = RunValue(*row)
                chars += len(value.document)
                if found and max_chars is not None and chars > max_chars:
                    break
                found.append(value)
        return found


def _chart_query(count: int, points: int) -> tuple[str, int]:
    """Groups of neighbours, each with the row that it begins with and the one that it ends with,
    and how many rows a group has; from blocks where the points are too many to be read."""
    if count <= MAX_READ:
        source, number, rows = "metric_points", "seq", count
        counted, last, low, high = "count(*)", "value", "min(value)", "max(value)"
    else:
        source, number, rows = "metric_blocks", "block", -(-count // BLOCK)
        counted, last, low, high = "sum(count)", "last", "min(min)", "max(max)"
    return (
        f"SELECT f.step, f.at_ms, g.counted, l.{last}, g.low, g.high"
        f" FROM (SELECT {counted} AS counted, {low} AS low, {high} AS high,"
        f" min({number}) AS first_seen, max({number}) AS last_seen FROM {source}"
        f" WHERE run = ?1 AND metric = ?2 GROUP BY {number} / ?3) g"
        f" JOIN {source} f ON f.run = ?1 AND f.metric = ?2 AND f.{number} = g.first_seen"
        f" JOIN {source} l ON l.run = ?1 AND l.metric = ?2 AND l.{number} = g.last_seen"
        " ORDER BY g.first_seen",
        max(1, -(-rows // points)),
    )


def write_points(connection: sqlite3.Connection, run: int, points: Sequence[Point]) -> None:
    """Within a transaction: more of the series of a run. ``points`` are valid."""
    written = plan(points, *_before(connection, run, keys_of(points)))
    connection.executemany(
        "INSERT INTO metric_points (run, metric, seq, value, step, at_ms)"
        f" VALUES ({run:d}, ?, ?, ?, ?, ?)",
        written.points,
    )
    connection.executemany(
        f"INSERT INTO metric_blocks VALUES ({run:d}, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET count = count + excluded.count, last = excluded.last,"
        " min = ifnull(min(min, excluded.min), ifnull(min, excluded.min)),"
        " max = ifnull(max(max, excluded.max), ifnull(max, excluded.max))",
        written.blocks,
    )
    connection.executemany(
        f"INSERT OR REPLACE INTO run_metrics VALUES ({run:d}, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                key,
                state.metric,
                state.count,
                stored_of(state.value),
                state.step,
                state.at_ms,
                stored_of(state.min),
                stored_of(state.max),
            )
            for key, state in written.series.items()
        ],
    )


def unseen(connection: sqlite3.Connection, run: int, points: Sequence[Point]) -> Sequence[Point]:
    """Within a transaction: those of ``points`` that are not among the newest of their series."""
    counts = Counter(point[0] for point in points)
    before, _ = _before(connection, run, list(counts))
    seen: set[tuple[str, float | None, int | None, int]] = set()
    for key, series in before.items():
        width = NEWEST + counts[key]
        rows = connection.execute(
            "SELECT value, step, at_ms FROM metric_points"
            " WHERE run = ? AND metric = ? AND seq >= ?",
            (run, series.metric, series.count - width),
        )
        rows.row_factory = None
        seen.update((key, *row) for row in rows)
    return [p for p in points if (p[0], stored_of(p[1]), p[2], p[3]) not in seen]


def write_values(connection: sqlite3.Connection, run: int, values: Iterable[Value]) -> None:
    """Within a transaction: values that are no numbers, which are valid."""
    connection.executemany(
        f"INSERT INTO run_values VALUES ({run:d}, ?1, (SELECT ifnull(max(seq) + 1, 0)"
        f" FROM run_values WHERE run = {run:d} AND key = ?1), ?2, ?3, ?4)",
        values,
    )


def delete_points(connection: sqlite3.Connection, run: int) -> None:
    """Within the transaction that removes the run: no foreign key does this, since checking it
    for each point would halve the rate."""
    for table in ("metric_points", "metric_blocks"):
        connection.execute(f"DELETE FROM {table} WHERE run = ?", (run,))


def latest_of(connection: sqlite3.Connection, runs: Sequence[int]) -> dict[int, dict[str, Metric]]:
    """The series of these runs as they are now, by run and key."""
    found: dict[int, dict[str, Metric]] = {}
    rows = connection.execute(
        "SELECT run, key, count, value, step, at_ms, min, max FROM run_metrics"
        f" WHERE run IN ({', '.join(map(str, runs))}) ORDER BY run, key"
    )
    rows.row_factory = None
    for run, key, count, value, step, at_ms, low, high in rows:
        metric = Metric(key, count, value_of(value), step, at_ms, value_of(low), value_of(high))
        found.setdefault(run, {})[key] = metric
    return found


def _before(
    connection: sqlite3.Connection, run: int, keys: Sequence[str]
) -> tuple[dict[str, Series], int]:
    """The states of these series that are there, and the number of the next new one."""
    found = {}
    for key in keys:
        row = connection.execute(
            "SELECT metric, count, value, step, at_ms, min, max FROM run_metrics"
            " WHERE run = ? AND key = ?",
            (run, key),
        ).fetchone()
        if row is not None:
            metric, count, value, step, at_ms, low, high = row
            found[key] = Series(
                metric, count, value_of(value), step, at_ms, value_of(low), value_of(high)
            )
    if len(found) == len(keys):
        return found, 0
    row = connection.execute(
        "SELECT ifnull(max(metric) + 1, 0) FROM run_metrics WHERE run = ?", (run,)
    ).fetchone()
    return found, row[0]


def _series(connection: sqlite3.Connection, id: str, key: str) -> tuple[int, int, int]:
    run = key_of(connection, id)
    row = connection.execute(
        "SELECT metric, count FROM run_metrics WHERE run = ? AND key = ?", (run, key)
    ).fetchone()
    if row is None:
        raise NotFoundError(f"run {id} has no metric {ascii(key)[:80]}")
    return run, row[0], row[1]
