"""Layers and the ledger in the hub's database. The ledger is only added to: triggers see to it."""

from __future__ import annotations

import sqlite3

import msgspec

from edge.errors import NotFoundError
from edge.layering import Layer, canonical


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger: who did what, when (since 1970). The engine of rollouts acts in the
    name of whoever started the rollout."""

    id: int
    at_ms: int
    who: str
    what: str
    layer: str | None = None
    module: str | None = None
    rollout: int | None = None
    device: str | None = None
    note: str = ""


class StoredLayer(msgspec.Struct, frozen=True):
    """A layer, and who changed it last, when."""

    layer: Layer
    changed_ms: int
    changed_by: str


def layers(connection: sqlite3.Connection) -> list[StoredLayer]:
    """By name."""
    return [
        StoredLayer(_decoder.decode(row[0]), row[1], row[2])
        for row in connection.execute(
            "SELECT body, changed_ms, changed_by FROM layers ORDER BY name"
        )
    ]


def layer(connection: sqlite3.Connection, name: str) -> StoredLayer:
    """Raises NotFoundError."""
    row = connection.execute(
        "SELECT body, changed_ms, changed_by FROM layers WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no deployment {name[:70]!a}")
    return StoredLayer(_decoder.decode(row[0]), row[1], row[2])


def put_layer(connection: sqlite3.Connection, layer: Layer, *, at_ms: int, who: str) -> None:
    """In place of the one of that name."""
    connection.execute(
        "INSERT INTO layers (name, body, changed_ms, changed_by) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET body = excluded.body,"
        " changed_ms = excluded.changed_ms, changed_by = excluded.changed_by",
        (layer.name, msgspec.json.encode(canonical(layer)), at_ms, who),
    )


def delete_layer(connection: sqlite3.Connection, name: str) -> None:
    """Nothing when it is not there."""
    connection.execute("DELETE FROM layers WHERE name = ?", (name,))


def tell(
    connection: sqlite3.Connection,
    *,
    at_ms: int,
    who: str,
    what: str,
    layer: str | None = None,
    module: str | None = None,
    rollout: int | None = None,
    device: str | None = None,
    note: str = "",
) -> None:
    """Add a line to the ledger."""
    connection.execute(
        "INSERT INTO ledger (at_ms, who, what, layer, module, rollout, device, note)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (at_ms, who, what, layer, module, rollout, device, note),
    )


def ledger(
    connection: sqlite3.Connection,
    *,
    layer: str | None = None,
    rollout: int | None = None,
    device: str | None = None,
    limit: int = 1000,
) -> list[Entry]:
    """The newest ``limit`` lines that are about all of these, the oldest first."""
    wanted = {"layer": layer, "rollout": rollout, "device": device}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in given) or "1"
    rows = connection.execute(
        "SELECT id, at_ms, who, what, layer, module, rollout, device, note FROM ledger"
        f" WHERE {where} ORDER BY id DESC LIMIT ?",
        (*given.values(), limit),
    )
    return [Entry(*row) for row in rows][::-1]


_decoder = msgspec.json.Decoder(Layer)
