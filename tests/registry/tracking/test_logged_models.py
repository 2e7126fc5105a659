"""Logged models: records of what runs wrote before it is registered."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import ImmutableError, InvalidNameError, NotFoundError
from registry.tracking import Tracking
from registry.tracking.entries import Entry, write_all
from registry.tracking.logged_models import check_logged_model


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return Workspace.init(tmp_path / "ws", base="none").tracking


def test_a_logged_model_is_what_was_said_of_it(tracking: Tracking) -> None:
    run = tracking.runs.create("e")
    made = tracking.logged_models.create(run.id, "model", params={"C": "1"}, tags={"t": "1"})
    assert (made.status, made.run, made.experiment_id) == ("pending", run.id, run.experiment_id)
    assert made.folder == f"logged-models/{made.id}"
    tracking.logged_models.tag(made.id, set={"u": "2"}, remove=["t"])
    tracking.logged_models.add_params(made.id, {"D": "2"})
    tracking.logged_models.set_steps(run.id, {made.id: 7})
    points = [("f1", 0.5, 3, 3), ("f1", 0.25, 1, 4), ("f1", float("nan"), 3, 9)]
    measured = Entry(run.id, of_models=[(made.id, points), ("m-" + "0" * 32, points)])
    assert write_all(tracking.database, [measured]) == [None]
    found = tracking.logged_models.finish(made.id, "failed", "no space")
    assert (found.status, found.cause, found.step) == ("failed", "no space", 7)
    assert (dict(found.params), dict(found.tags)) == ({"C": "1", "D": "2"}, {"u": "2"})
    assert (found.metrics["f1"].step, found.metrics["f1"].at_ms) == (3, 9)


def test_they_are_listed_the_newest_first(tracking: Tracking) -> None:
    runs = [tracking.runs.create(name) for name in ("e", "f")]
    made = [tracking.logged_models.create(run.id, name) for name in "ab" for run in runs]
    ids = [model.id for model in made]

    def listed(**asked: object) -> list[int]:
        found = tracking.logged_models.list(**asked)  # type: ignore[arg-type]
        return [ids.index(model.id) for model in found]

    assert listed() == [3, 2, 1, 0]
    assert listed(name="a") == [1, 0]
    assert listed(experiments=[runs[1].experiment_id]) == [3, 1]
    assert listed(experiments=[]) == []
    tracking.logged_models.delete(ids[3])
    tracking.runs.delete(runs[0].id)
    assert listed() == [1]
    assert [m.id for m in tracking.logged_models.of_run(runs[1].id)] == [ids[1]]


def test_it_goes_with_its_run(tracking: Tracking) -> None:
    run = tracking.runs.create("e").id
    made = tracking.logged_models.create(run, "model", tags={"t": "1"})
    tracking.runs.remove(run)
    with pytest.raises(NotFoundError):
        tracking.logged_models.get(made.id)


def test_what_is_not_there_or_not_allowed_is_refused(tracking: Tracking) -> None:
    run, other = (tracking.runs.create("e").id for _ in range(2))
    made = tracking.logged_models.create(run, "model")
    with pytest.raises(NotFoundError):
        tracking.logged_models.set_steps(other, {made.id: 1})
    with pytest.raises(InvalidNameError):
        tracking.logged_models.create(run, "a\nb")
    with pytest.raises(InvalidNameError):
        check_logged_model("m-../x")
    tracking.runs.delete(run)
    with pytest.raises(ImmutableError):
        tracking.logged_models.create(run, "model")
    with pytest.raises(NotFoundError):
        tracking.logged_models.create("0" * 32, "model")
