"""Which data runs were trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import ImmutableError, InvalidNameError, NotFoundError
from registry.tracking import search
from registry.tracking.datasets import MOST, RunDataset


def test_a_run_says_what_it_was_trained_with(tmp_path: Path) -> None:
    tracking = Workspace.init(tmp_path / "ws", base="none").tracking
    run = tracking.runs.create("e").id
    train = RunDataset("digits", "abc", "local", "{}", "{}", "", {"mlflow.data.context": "train"})
    test = RunDataset("digits", "def")
    tracking.datasets.add(run, [train, test])
    tracking.datasets.add(run, [train])
    assert tracking.datasets.of_run(run) == [train, test]
    tracking.runs.remove(run)
    with pytest.raises(NotFoundError):
        tracking.datasets.of_run(run)


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    tracking = Workspace.init(tmp_path / "ws", base="none").tracking
    run = tracking.runs.create("e").id
    for wrong in (
        RunDataset("", "abc"),
        RunDataset("a", "b\n"),
        RunDataset("a", "b", source="x" * 70_000),
        RunDataset("a", "b", schema="\0"),
        RunDataset("a", "b", tags={"": "x"}),
    ):
        with pytest.raises(InvalidNameError):
            tracking.datasets.add(run, [wrong])
    with pytest.raises(ImmutableError):
        tracking.datasets.add(run, [RunDataset("a", str(n)) for n in range(MOST + 1)])
    assert tracking.datasets.of_run(run) == []
    tracking.runs.delete(run)
    with pytest.raises(ImmutableError):
        tracking.datasets.add(run, [RunDataset("a", "b")])


def test_runs_are_found_by_their_datasets(tmp_path: Path) -> None:
    tracking = Workspace.init(tmp_path / "ws", base="none").tracking
    context = "mlflow.data.context"
    for name, *datasets in (
        ("both", RunDataset("a", "1", tags={context: "train"}), RunDataset("b", "2")),
        ("one", RunDataset("b", "2", tags={context: "it's"})),
        ("none",),
    ):
        tracking.datasets.add(tracking.runs.create("e", name=name).id, datasets)

    def found(filter: str) -> set[str]:
        return {run.name for run in tracking.runs.search(filter=filter).runs}

    assert found("dataset.name = 'a'") == {"both"}
    assert found("datasets.name LIKE 'b%'") == {"both", "one"}
    assert found("dataset.name != 'b'") == {"both"}  # a run that has another one than that
    assert found("dataset.digest IN ('1', '9')") == {"both"}
    assert found("dataset.context = 'it''s'") == {"one"}
    assert found("dataset.name = 'b' AND dataset.context = 'train'") == {"both"}
    assert found('dataset.name = "\' OR 1=1 --"') == set()
    for wrong in ("dataset.name > 'a'", "dataset.profile = 'x'", "dataset.name IS NULL"):
        with pytest.raises(InvalidNameError):
            found(wrong)
    with pytest.raises(InvalidNameError, match="no order by their datasets"):
        tracking.runs.search(order_by=["dataset.name"])


@pytest.mark.parametrize("column", ["name", "digest"])
def test_what_few_runs_were_trained_with_is_found_by_an_index(tmp_path: Path, column: str) -> None:
    tracking = Workspace.init(tmp_path / "ws", base="none").tracking
    with tracking.database.read() as connection:
        plan = search.plan(
            filter=f"dataset.{column} = 'a'",
            order_by=(),
            experiments=None,
            view="active",
            limit=50,
            token=None,
        )
        statement, values = search.statement(plan, 1, [False])
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    assert f"run_datasets_{column} ({column}=?)" in " ".join(row["detail"] for row in rows)
