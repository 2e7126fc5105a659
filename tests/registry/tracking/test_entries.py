"""What clients log, many requests in one transaction."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import ImmutableError, InvalidNameError, NotFoundError, RegistryError
from registry.tracking import RunRecord, Tracking
from registry.tracking.entries import Entry, write_all
from registry.tracking.making import Making, NewRun


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Workspace.init(tmp_path / "ws", base="none").tracking


def test_an_entry_that_is_refused_spoils_no_other(tracking: Tracking) -> None:
    run, gone = (tracking.runs.create("e").id for _ in range(2))
    tracking.runs.delete(gone)
    refused = write_all(
        tracking.database,
        [
            Entry(run, points=[("m", 1.0, 0, 1)], params={"p": "1"}, tags={"t": "1"}),
            Entry(gone, points=[("m", 1.0, 0, 1)]),
            Entry("0" * 32, tags={"t": "1"}),
            Entry(run, points=[("torn", 1.0, 0, 1)], params={"p": "2"}),
            Entry(run, tags={"": "1"}),
            Entry(run, points=[("m", 2.0, 1, 2)], name="named"),
        ],
    )
    kinds = [None if error is None else type(error) for error in refused]
    assert kinds == [None, ImmutableError, NotFoundError, ImmutableError, InvalidNameError, None]
    found = tracking.runs.get(run)
    assert (found.name, dict(found.params), dict(found.tags)) == ("named", {"p": "1"}, {"t": "1"})
    assert list(found.metrics) == ["m"]
    assert [p.value for p in tracking.metrics.history(run, "m")] == [1.0, 2.0]


def test_points_that_come_again_are_there_once(tracking: Tracking) -> None:
    run = tracking.runs.create("e").id
    entry = Entry(run, points=[("m", math.nan if n % 2 else 0.5, n, n) for n in range(300)])
    more = Entry(run, points=[("m", 0.5, 298, 298), ("m", 0.5, 300, 300), ("n", 0.5, 298, 298)])
    assert write_all(tracking.database, [entry, entry, more, more]) == [None] * 4
    assert len(tracking.metrics.history(run, "m")) == 301
    assert len(tracking.metrics.history(run, "n")) == 1


def test_nothing_is_kept_of_a_transaction_that_fails(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tracking.runs.create("e").id

    def broken(*args: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("registry.tracking.run_rows.set_tags", broken)
    with pytest.raises(OSError, match="disk"):
        write_all(
            tracking.database,
            [Entry(run, points=[("m", 1.0, 0, 1)]), Entry(run, tags={"t": "1"})],
        )
    assert tracking.runs.get(run).metrics == {}


def test_an_error_is_one_that_can_be_told(tracking: Tracking) -> None:
    [refused] = write_all(tracking.database, [Entry("x", points=[("m", 1.0, 0, 1)])])
    assert isinstance(refused, RegistryError)


def making(number: int, **more: object) -> Making:
    new = NewRun(0, **{"name": f"made{number}", **more})  # type: ignore[arg-type]
    return Making(new, f"{number:032x}", 5, "abc" if number else None)


def test_runs_are_made_among_what_is_logged_and_what_is_refused(tracking: Tracking) -> None:
    before = tracking.runs.create("Default").id
    hidden = tracking.experiments.create("hidden")
    tracking.experiments.delete("hidden")
    made, logged, missing, deleted, unnamed, again = write_all(
        tracking.database,
        [
            making(1, parent=before, tags={"t": "1"}, user="ada"),
            Entry(f"{1:032x}", points=[("m", 1.0, 0, 1)]),
            Making(NewRun(777), f"{2:032x}", 5),
            Making(NewRun(hidden.id), f"{3:032x}", 5),
            making(4, tags={"": "1"}),
            making(5, parent="f" * 32),
        ],
    )
    assert logged is None
    kinds = [type(refused) for refused in (missing, deleted, unnamed)]
    assert kinds == [NotFoundError, ImmutableError, InvalidNameError]
    for found, parent, number in ((made, before, 2), (again, None, 3)):
        assert isinstance(found, RunRecord)
        assert (found.parent, found.number, found.revision) == (parent, number, "abc")
    assert isinstance(made, RunRecord)
    seen = tracking.runs.get(made.id)
    assert (seen.name, seen.user, seen.started_ms, dict(seen.tags)) == (
        "made1",
        "ada",
        5,
        {"t": "1"},
    )
    assert list(seen.metrics) == ["m"]
    assert len(tracking.runs.search().runs) == 3
