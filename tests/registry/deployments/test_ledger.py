"""The ledger answers what was live, and cannot be rewritten."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest

from registry import Workspace
from registry.deployments import Share
from registry.errors import InvalidNameError, NotFoundError
from tests.registry.deployments.conftest import Ticks


def test_what_was_live_at_a_time_and_who_saw_to_it(made: Workspace, ticks: Ticks) -> None:
    deployments = made.deployments
    deployments.create("web", "adder:1", actor="ada")
    before = ticks()
    deployments.set_traffic("web", [Share(1, 100)], actor="controller")
    first = ticks()
    deployments.update("web", image="adder:2", actor="bob")
    deployments.set_traffic("web", [Share(1, 90), Share(2, 10)], actor="controller")
    canary = ticks()
    deployments.set_traffic("web", [Share(2, 100)], actor="bob")
    second = ticks()
    deployments.delete("web", actor="ada")
    deployments.forget("web")
    after = ticks()

    assert deployments.live_at("web", before) is None
    found = deployments.live_at("web", first)
    assert found is not None
    assert found.traffic == (Share(1, 100),)
    assert found.images == {1: f"adder:1@{made.images.get('adder:1').digest}"}
    live = deployments.live_at("web", canary)
    assert live is not None
    assert live.traffic == (Share(1, 90), Share(2, 10))
    live = deployments.live_at("web", second)
    assert live is not None
    assert (live.actor, live.traffic) == ("bob", (Share(2, 100),))
    assert deployments.live_at("web", after) is None
    with pytest.raises(NotFoundError):
        deployments.live_at("never", after)


def test_a_clock_that_was_set_back_does_not_reorder_it(made: Workspace, ticks: Ticks) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    made.deployments.update("web", image="adder:2", actor="a")
    made.deployments.set_traffic("web", [Share(1, 100)], actor="a")
    now = ticks()
    ticks.now -= timedelta(hours=3)
    made.deployments.set_traffic("web", [Share(2, 100)], actor="a")
    live = made.deployments.live_at("web", now)
    assert live is not None
    assert live.traffic == (Share(2, 100),)
    assert [e.id for e in made.deployments.ledger("web")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM deployment_ledger", "UPDATE deployment_ledger SET actor = 'nobody'"],
)
def test_the_database_refuses_to_rewrite_it(made: Workspace, statement: str) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    connection = sqlite3.connect(made.root / "workspace.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert len(made.deployments.ledger()) == 1


def test_it_is_read_in_pages_and_by_deployment(made: Workspace) -> None:
    for name in ("a", "b"):
        made.deployments.create(name, "adder:1", actor="x")
    assert [e.deployment for e in made.deployments.ledger()] == ["a", "b"]
    assert [e.deployment for e in made.deployments.ledger(after=1)] == ["b"]
    assert [e.deployment for e in made.deployments.ledger(limit=1)] == ["a"]
    assert [e.deployment for e in made.deployments.ledger("b")] == ["b"]


def test_an_actor_that_cannot_be_printed_is_refused_and_nothing_happens(made: Workspace) -> None:
    with pytest.raises(InvalidNameError):
        made.deployments.create("web", "adder:1", actor="\x1b[31m")
    assert made.deployments.list() == []
    assert made.deployments.ledger() == []


def test_a_long_detail_is_cut_and_stays_readable(made: Workspace) -> None:
    made.deployments.create("web", "adder:1", actor="a")
    made.deployments.note("web", "replica lost", {"log": "x" * 100_000}, actor="controller")
    assert len(str(made.deployments.ledger("web")[-1].detail)) < 20_000
