"""What the registry knows of experiments and runs: plain values. Times are milliseconds since 1970.

A metric's value is a float, NaN and infinities among them. A run is called ``EXPERIMENT:NUMBER`` by
people, and by its ``id`` (32 hexadecimal digits) by programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["scheduled", "running", "finished", "failed", "killed"]
View = Literal["active", "deleted", "all"]
ENDED: frozenset[Status] = frozenset(("finished", "failed", "killed"))
DEAD = "its process ended without a word"

Point = tuple[str, float, int | None, int]
"""One measured value: key, value, step (None: as many as there were before it), at_ms."""
Value = tuple[str, str, int, str]
"""One value that is no number: key, kind (list, row, table, ...), at_ms, JSON document."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What runs belong to. ``runs`` counts those that are not deleted."""

    id: int
    name: str
    created_ms: int
    updated_ms: int
    is_deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """A series as it is now. ``value`` is that of the highest step, of several the one with the
    latest time; ``min`` and ``max`` leave out NaN, and are NaN where there is nothing else."""

    key: str
    count: int
    value: float
    step: int
    at_ms: int
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of a series, in the order of arrival."""

    value: float
    step: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """``count`` neighbours of a series as one: the first one's step and time, the last one's
    value, and the extremes of all."""

    step: int
    at_ms: int
    count: int
    value: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class RunValue:
    """A list, row, table, image, confusion matrix and so on; ``document`` is its JSON."""

    key: str
    kind: str
    at_ms: int
    document: str


@dataclass(frozen=True, slots=True)
class ValueSeries:
    """What was logged under one name and is no number: of which kind, and how often."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class RunFile:
    """One file of a run: its POSIX path in the run, and its bytes in the store."""

    path: str
    size_bytes: int
    digest: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. ``cause`` says why it failed or was killed; ``source`` is the script's name,
    ``revision`` its git commit, ``environment`` the digest of what was installed
    (``Runs.environment``); ``parent`` is the id of the run that it is a child of."""

    key: int
    """Its number in the database, for keys of other tables; nobody is shown it."""
    id: str
    experiment_id: int
    experiment: str
    number: int
    name: str
    parent: str | None
    status: Status
    cause: str | None
    user: str
    source: str
    revision: str | None
    environment: str | None
    started_ms: int
    ended_ms: int | None
    is_deleted: bool
    cancel_requested: bool
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """``EXPERIMENT:NUMBER``."""
        return f"{self.experiment}:{self.number}"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some of the runs that a search found; ``next_token`` asks for the next ones, if there are."""

    runs: tuple[RunRecord, ...]
    next_token: str | None
