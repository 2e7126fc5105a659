"""A workspace of full size: 100,000 runs of ten experiments, with 1,000,000 points of two metrics.

Six runs of ten are in the first experiment. Runs are written in large transactions, by the code
that writes them one by one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from registry import Workspace
from registry.tracking import Point, Tracking, run_rows
from registry.tracking.metrics import write_points

RUNS = 100_000
POINTS = 5
"""Of each of the two metrics of a run."""
STARTED_MS = 1_700_000_000_000
AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Made:
    """One run to write."""

    id: str
    name: str
    experiment: int
    status: str
    started_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, tuple[float, ...]]


def made_runs(count: int) -> Iterator[Made]:
    """Always the same ones."""
    rng = random.Random(1)
    for number in range(count):
        yield Made(
            id=f"{rng.getrandbits(128):032x}",
            name=f"run{number}",
            experiment=1 if number % 2 else 1 + number % 10,
            status=rng.choice(["finished", "failed"]),
            started_ms=STARTED_MS + number * 1000,
            params={"lr": rng.choice(["0.1", "0.01", "0.001"]), "depth": str(rng.randint(1, 9))},
            tags={"stage": rng.choice("ab"), "n": str(number)},
            metrics={
                key: tuple(rng.random() for _ in range(POINTS)) for key in ("loss", "accuracy")
            },
        )


def fill(root: Path, count: int = RUNS) -> Tracking:
    """A new workspace at ``root``."""
    tracking = Workspace.init(root, base="none").tracking
    for number in range(1, 11):
        tracking.experiments.create(f"exp{number}")
    runs = made_runs(count)
    while several := list(islice(runs, AT_ONCE)):
        with tracking.database.write() as connection:
            for made in several:
                row = connection.execute(
                    "UPDATE experiments SET next_number = next_number + 1 WHERE id = ?"
                    " RETURNING next_number - 1",
                    (made.experiment,),
                ).fetchone()
                row = connection.execute(
                    "INSERT INTO runs (id, experiment, number, name, status, user, source,"
                    " started_ms, ended_ms) VALUES (?, ?, ?, ?, ?, 'ada', 'train.py', ?, ?)"
                    " RETURNING key",
                    (
                        made.id,
                        made.experiment,
                        row[0],
                        made.name,
                        made.status,
                        made.started_ms,
                        made.started_ms + 500,
                    ),
                ).fetchone()
                run_rows.set_params(connection, row[0], made.params)
                run_rows.set_tags(connection, row[0], made.tags)
                write_points(connection, row[0], _points(made))
    return tracking


def _points(made: Made) -> list[Point]:
    return [
        (key, value, step, made.started_ms + step)
        for key, values in made.metrics.items()
        for step, value in enumerate(values)
    ]
