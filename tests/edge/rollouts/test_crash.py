"""A hub that dies between any two statements has done all of a step or nothing, and goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from edge.hub.database import Database
from edge.hub.deployments import Deployments
from edge.hub.rollout_engine import RolloutEngine
from edge.hub.rollout_policy import Policy
from edge.hub.rollouts import Rollouts
from edge.layering import Layer
from tests.edge.rollouts.small_hub import NEW, NEWER, OLD, SmallHub, module

NAMES = ["a", "b", "c", "d"]


class Killed(BaseException):
    """Nothing catches it."""


class _Fused:
    """A connection that dies at one of its statements."""

    def __init__(self, connection: sqlite3.Connection, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def execute(self, *arguments: Any) -> Any:
        self._burn()
        return self._connection.execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        self._burn()
        return self._connection.executemany(*arguments)

    def _burn(self) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1


class FusedDatabase(Database):
    """Whoever writes to it dies after ``statements`` of them."""

    def __init__(self, path: Path, statements: int) -> None:
        super().__init__(path)
        self._statements = statements

    @contextmanager
    def writer(self, held: sqlite3.Connection | None = None) -> Iterator[sqlite3.Connection]:
        with super().writer(held) as connection:
            yield cast("sqlite3.Connection", _Fused(connection, self._statements))


def content(hub: SmallHub) -> list[tuple[object, ...]]:
    tables = ("layers", "states", "desired", "history", "ledger", "rollouts", "members", "devices")
    with hub.database.reader() as connection:
        return [
            (table, *row)
            for table in (*tables, "changed")
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
        ]


def nothing(hub: SmallHub) -> None:
    """The rollout was started, no more."""


def expose_all(hub: SmallHub) -> None:
    hub.tick()


def all_fail(hub: SmallHub) -> None:
    for name in hub.tick():
        hub.report(name, phase="failed", digest=OLD)


def all_succeed(hub: SmallHub) -> None:
    for name in hub.tick():
        hub.report(name)


def tick(hub: SmallHub, database: Database) -> None:
    RolloutEngine(database).tick(hub.now_ms)


def deploy(hub: SmallHub, database: Database) -> None:
    layer = Layer("all", modules=(module(digest=NEWER),))
    Deployments(database, lambda: hub.now_ms).put(layer, by="ann", supersede=True)


def start_another(hub: SmallHub, database: Database) -> None:
    Rollouts(database, lambda: hub.now_ms).start(
        "all", "digits", image="digits:3", digest=NEWER, by="ann"
    )


def roll_back(hub: SmallHub, database: Database) -> None:
    Rollouts(database, lambda: hub.now_ms).roll_back(1, by="ann")


@pytest.mark.parametrize(
    ("prepare", "act", "digest"),
    [
        (nothing, tick, NEW),
        (all_fail, tick, OLD),
        (all_succeed, tick, NEW),
        (expose_all, deploy, NEWER),
        (expose_all, start_another, NEW),
        (expose_all, roll_back, OLD),
    ],
)
def test_all_of_it_or_nothing(
    tmp_path: Path,
    prepare: Callable[[SmallHub], None],
    act: Callable[[SmallHub, Database], None],
    digest: str,
) -> None:
    hub = SmallHub(tmp_path, NAMES)
    hub.deployments.put(Layer("all", modules=(module(),)), by="ann")
    hub.rollouts.start(
        "all", "digits", image="digits:2", digest=NEW, by="bob", policy=Policy(batches=("100%",))
    )
    prepare(hub)
    before = content(hub)
    assert kills_until_done(hub, act, before) >= 5
    assert content(hub) != before
    assert hub.with_digest(digest, NAMES) == NAMES


def kills_until_done(
    hub: SmallHub, act: Callable[[SmallHub, Database], None], before: list[tuple[object, ...]]
) -> int:
    kills = 0
    while True:
        try:
            act(hub, FusedDatabase(hub.database.path, kills))
        except Killed:
            kills += 1
            assert content(hub) == before
        else:
            return kills
