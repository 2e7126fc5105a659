"""Which data runs were trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import ImmutableError, InvalidNameError, NotFoundError
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
