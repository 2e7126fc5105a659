"""What a run said in this process, for who asks where nobody else knows."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from registry.tracking import Point, RunRecord, Status, Value
from runtime.tracking.keeper import Pairs
from runtime.tracking.logged import together

MAX_REMEMBERED = 10_000
"""Values of one name."""


class Remembered:
    """One run, whose first facts are ``record``."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._logged: dict[str, tuple[str, deque[Any]]] = {}
        self.pairs: dict[Pairs, dict[str, str]] = {
            "param": dict(record.params),
            "tag": dict(record.tags),
            "property": dict(record.properties),
        }
        self.status: Status = record.status

    def record(self) -> RunRecord:
        """As it is now."""
        from dataclasses import replace

        return replace(
            self._record,
            status=self.status,
            params=dict(self.pairs["param"]),
            tags=dict(self.pairs["tag"]),
            properties=dict(self.pairs["property"]),
        )

    def log(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        """The newest of each name."""
        for key, value, _, _ in points:
            self._remember(key, "metric", value)
        for key, kind, _, document in values:
            self._remember(key, kind, json.loads(document))

    def put(self, kind: Pairs, pairs: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """The newest of each name."""
        self.pairs[kind].update(pairs)
        for key in removed:
            self.pairs[kind].pop(key, None)

    def metrics(self) -> dict[str, Any]:
        """One value, or a list of them, by name; in the shapes that a workspace gives."""
        return {key: together(kind, list(each)) for key, (kind, each) in self._logged.items()}

    def _remember(self, key: str, kind: str, value: Any) -> None:
        self._logged.setdefault(key, (kind, deque(maxlen=MAX_REMEMBERED)))[1].append(value)


def first_record(
    *, id: str, experiment: str, number: int, name: str, started_ms: int, parent: str | None = None
) -> RunRecord:
    """Of a run that has said nothing yet."""
    return RunRecord(
        key=0,
        id=id,
        experiment_id=0,
        experiment=experiment,
        number=number,
        name=name,
        parent=parent,
        status="running",
        cause=None,
        user="",
        source="",
        revision=None,
        environment=None,
        started_ms=started_ms,
        ended_ms=None,
        is_deleted=False,
        cancel_requested=False,
    )
