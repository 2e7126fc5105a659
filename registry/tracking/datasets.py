"""Which data a run was trained or tested with, as its client describes it: names and digests, not
the data itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry.database import Database
from registry.errors import ImmutableError, InvalidNameError
from registry.tracking.run_rows import active_key_of, key_of
from registry.tracking.words import check_key, check_tags

MAX_SOURCE_CHARS = 65_536
MAX_SCHEMA_CHARS = 1_048_576
MOST = 1000
"""Of one run."""


@dataclass(frozen=True, slots=True)
class RunDataset:
    """``source`` says where it is, ``schema`` and ``profile`` what it looks like; their texts are
    the client's own. Tags such as ``mlflow.data.context`` say what it was used for."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises InvalidNameError."""
        check_key(self.name, "dataset")
        check_key(self.digest, "digest of a dataset")
        check_tags(self.tags)
        for what, text, most in (
            ("source type", self.source_type, 250),
            ("source", self.source, MAX_SOURCE_CHARS),
            ("schema", self.schema, MAX_SCHEMA_CHARS),
            ("profile", self.profile, MAX_SCHEMA_CHARS),
        ):
            if len(text) > most:
                raise InvalidNameError(f"the {what} of a dataset has at most {most} characters")
            if any("\ud800" <= char <= "\udfff" or char == "\0" for char in text):
                raise InvalidNameError(f"the {what} of a dataset is no valid text")


Found = list[RunDataset]


class RunDatasets:
    """Those of the runs of one workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: str, datasets: Sequence[RunDataset]) -> None:
        """More of this run; one of the same name and digest is replaced. Raises NotFoundError,
        InvalidNameError, ImmutableError where they become too many or the run is deleted."""
        for dataset in datasets:
            dataset.check()
        with self._database.write() as connection:
            key = active_key_of(connection, run)
            connection.executemany(
                "INSERT OR REPLACE INTO run_datasets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        key,
                        each.name,
                        each.digest,
                        each.source_type,
                        each.source,
                        each.schema,
                        each.profile,
                        json.dumps(dict(each.tags)),
                    )
                    for each in datasets
                ],
            )
            row = connection.execute("SELECT count(*) FROM run_datasets WHERE run = ?", (key,))
            if row.fetchone()[0] > MOST:
                raise ImmutableError(f"a run has at most {MOST} datasets")

    def of_run(self, run: str) -> Found:
        """By name and digest. Raises NotFoundError."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT name, digest, source_type, source, schema, profile, tags FROM run_datasets"
                " WHERE run = ? ORDER BY name, digest",
                (key_of(connection, run),),
            )
            return [
                RunDataset(
                    row["name"],
                    row["digest"],
                    row["source_type"],
                    row["source"],
                    row["schema"],
                    row["profile"],
                    json.loads(row["tags"]),
                )
                for row in rows
            ]
