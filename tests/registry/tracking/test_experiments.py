"""Experiments: by name, by id, by filter; renamed, tagged, deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.database import MIGRATIONS
from registry.errors import ImmutableError, InUseError, InvalidNameError, NotFoundError
from registry.tracking import RunRecord, Tracking
from tests.registry.tracking.conftest import Clock


def names(tracking: Tracking, text: str = "", **more: object) -> list[str]:
    return [e.name for e in tracking.experiments.list(filter=text, **more)]  # type: ignore[arg-type]


def test_one_is_made_found_and_tagged(tracking: Tracking, clock: Clock) -> None:
    made = tracking.experiments.create("a b/c", tags={"t": "1"})
    assert tracking.experiments.get("a b/c") == tracking.experiments.get_by_id(made.id) == made
    clock.now_ms += 1
    tagged = tracking.experiments.tag("a b/c", set={"u": "2"}, remove=["t", "nothing"])
    assert (tagged.tags, made.created_ms) == ({"u": "2"}, clock.now_ms - 1)
    with pytest.raises(InvalidNameError, match="already"):
        tracking.experiments.create("a b/c")
    with pytest.raises(NotFoundError):
        tracking.experiments.get("x")
    with pytest.raises(NotFoundError):
        tracking.experiments.get_by_id(99)


def test_there_is_a_default_one_as_mlflow_expects(tracking: Tracking) -> None:
    assert tracking.experiments.get_by_id(0).name == "Default"
    with pytest.raises(ImmutableError):
        tracking.experiments.remove("Default")
    assert tracking.runs.create(0).reference == "Default:1"


def test_they_are_listed_the_newest_first_by_filter_and_page(
    tracking: Tracking, clock: Clock
) -> None:
    for name in ("one", "two", "three"):
        clock.now_ms += 1000
        tracking.experiments.create(name, tags={"size": str(len(name))})
    assert names(tracking) == ["three", "two", "one", "Default"]
    assert names(tracking, limit=2, offset=1) == ["two", "one"]
    assert names(tracking, "name LIKE 't%'") == ["three", "two"]
    assert names(tracking, "tags.size = '3' and name != 'one'") == ["two"]
    assert names(tracking, f"creation_time >= {clock.now_ms}") == ["three"]
    assert names(tracking, "tags.size IS NULL") == ["Default"]
    with pytest.raises(InvalidNameError, match="no metrics to filter by"):
        names(tracking, "metrics.x > 1")
    with pytest.raises(InvalidNameError, match="cannot be searched by"):
        names(tracking, "status = 'x'")


def test_a_new_name_is_that_of_its_runs_too(tracking: Tracking, run: RunRecord) -> None:
    tracking.experiments.create("taken")
    with pytest.raises(InvalidNameError, match="already"):
        tracking.experiments.rename("digits", "taken")
    tracking.experiments.rename("digits", "numbers")
    assert tracking.runs.get(run.id).reference == "numbers:1"
    assert tracking.experiments.rename("numbers", "numbers").name == "numbers"


def test_one_with_runs_is_hidden_but_not_removed(tracking: Tracking, run: RunRecord) -> None:
    tracking.experiments.delete("digits")
    assert names(tracking) == ["Default"]
    assert names(tracking, view="deleted") == ["digits"]
    with pytest.raises(InUseError, match="run digits:1"):
        tracking.experiments.remove("digits")
    tracking.runs.remove(run.id)
    tracking.experiments.remove("digits")
    assert names(tracking, view="all") == ["Default"]


def test_a_workspace_of_before_gets_the_tables_of_the_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = MIGRATIONS[: MIGRATIONS.index("tracking.sql")]
    with monkeypatch.context() as older:
        older.setattr("registry.database.MIGRATIONS", before)
        workspace = Workspace.init(tmp_path / "old", base="none")
        (tmp_path / "m.bin").write_text("x")
    tracking = Tracking.open(tmp_path / "old")
    assert names(tracking) == ["Default"]
    assert tracking.runs.create("digits").reference == "digits:1"
    assert workspace.models.register(tmp_path / "m.bin", name="m").version == 1
