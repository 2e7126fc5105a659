from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.edge.ingest import check_each_is_there_once, measure_pipe
from benchmarks.edge.simulated import Load
from edge.hub.database import Database


@pytest.mark.slow
def test_the_measure_counts_only_what_is_there_once(tmp_path: Path) -> None:
    load = Load(devices=3, batches=6, records=5)
    figure = measure_pipe(load, tmp_path)
    assert figure.details["records"] == 90
    assert figure.measured > 0
    database = Database(tmp_path / "hub.db")
    with database.writer() as connection:
        connection.execute("UPDATE segments SET last = last - 1, records = records - 1")
    with pytest.raises(AssertionError):
        check_each_is_there_once(database, load)
