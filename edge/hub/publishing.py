"""The desired state of each device: made from layers and rollouts, stored, and read by whoever
publishes it.

    refresh(connection, at_ms=now, who="ann", cause="layer cameras")    # within a transaction
    desired_for(connection, "camera-1")

A device's version grows with each real change of what it shall run, and only then; it never goes
back, also when the device is removed and comes again. A state that cannot be (two modules at one
port) is refused for that device alone: it keeps the last good one, and the error is kept beside it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from edge.hub import deployment_rows, rollout_rows
from edge.hub.database import mark_desired
from edge.hub.rollout_rows import DesiredState
from edge.hub.rollout_states import Member, Rollout, spec_for
from edge.layering import Composed, Layer, compose, ranked
from edge.messages.codec import MAX_BYTES, VERSION
from edge.messages.desired import Desired


class Change(msgspec.Struct, frozen=True):
    """Of one device. ``body``: its new state, None: that stays. ``error``: why what the layers say
    cannot be."""

    device: str
    body: bytes | None
    error: str | None


def refresh(
    connection: sqlite3.Connection,
    devices: Sequence[str] | None = None,
    *,
    at_ms: int,
    who: str,
    cause: str,
) -> list[str]:
    """Make the desired state of these devices (None: all) anew, and tell the running hub of those
    that changed: they are returned. ``connection``: a writer's. ``who`` and ``cause``: for the
    history of the device."""
    changed: list[str] = []
    for change in changes(connection, devices):
        _store(connection, change, at_ms, who, cause)
        if change.body is not None:
            changed.append(change.device)
    if changed:
        mark_desired(connection, changed)
    return changed


def desired_for(connection: sqlite3.Connection, device: str, /) -> Desired | None:
    """What it shall run; None: nothing was ever said."""
    row = connection.execute(
        "SELECT desired.version, states.body FROM desired"
        " JOIN states ON states.digest = desired.state WHERE desired.device = ?",
        (device,),
    ).fetchone()
    if row is None:
        return None
    state = _states.decode(row[1])
    return Desired(VERSION, device, int(row[0]), state.modules, state.settings)


def changes(connection: sqlite3.Connection, devices: Sequence[str] | None = None) -> list[Change]:
    """What ``refresh`` would do. Writes nothing."""
    composer = Composer(connection, devices)
    stored = {
        row[0]: (row[1], row[2])
        for row in connection.execute("SELECT device, state, error FROM desired")
    }
    found: list[Change] = []
    for device, tags in _tags(connection, devices):
        body, error = encoded(composer.compose(device, tags))
        state, known_error = stored.get(device, (None, None))
        if body is not None and _digest(body) == (state or _NOTHING):
            body = None
        if body is not None or error != known_error:
            found.append(Change(device, body, error))
    return found


class Composer:
    """Layers and the rollouts that are under way, as they are now."""

    def __init__(
        self, connection: sqlite3.Connection, devices: Sequence[str] | None = None
    ) -> None:
        stored = deployment_rows.layers(connection)
        self._layers = ranked(each.layer for each in stored)
        self._rollouts: dict[str, list[tuple[Rollout, dict[str, Member]]]] = {}
        for rollout in rollout_rows.current(connection).values():
            members = rollout_rows.members(connection, rollout.id, devices)
            self._rollouts.setdefault(rollout.layer, []).append((rollout, members))

    def compose(self, device: str, tags: dict[str, str]) -> Composed:
        """What it shall run."""
        return compose(device, tags, (self._for(layer, device) for layer in self._layers))

    def _for(self, layer: Layer, device: str) -> Layer:
        """The layer as this device sees it."""
        for rollout, members in self._rollouts.get(layer.name, ()):
            standard = layer.module(rollout.module)
            spec = spec_for(rollout, members.get(device), standard)
            if spec != standard:
                layer = layer.with_module(rollout.module, spec)
        return layer


def encoded(composed: Composed) -> tuple[bytes | None, str | None]:
    """(its bytes, None), or (None, why it cannot be)."""
    if composed.error is not None:
        return None, composed.error
    body = msgspec.json.encode(DesiredState(composed.modules, composed.settings))
    if len(body) > MAX_BYTES - 1024:
        return None, f"its desired state would be {len(body)} bytes, and {MAX_BYTES} are the most"
    return body, None


def tags_of(connection: sqlite3.Connection) -> Iterable[tuple[str, dict[str, str]]]:
    """Every device with its tags."""
    return _tags(connection, None)


def _tags(
    connection: sqlite3.Connection, devices: Sequence[str] | None
) -> Iterable[tuple[str, dict[str, str]]]:
    wanted = None if devices is None else set(devices)
    for name, tags in connection.execute("SELECT name, tags FROM devices ORDER BY name"):
        if wanted is None or name in wanted:
            yield name, _tag_decoder.decode(tags)


def _store(
    connection: sqlite3.Connection, change: Change, at_ms: int, who: str, cause: str
) -> None:
    device = change.device
    connection.execute(
        "INSERT INTO desired (device, version, error) VALUES (?1, 0, ?2)"
        " ON CONFLICT (device) DO UPDATE SET error = ?2",
        (device, change.error),
    )
    if change.error is not None:
        deployment_rows.tell(
            connection, at_ms=at_ms, who=who, what="refused", device=device, note=change.error
        )
    if change.body is None:
        return
    digest = _digest(change.body)
    connection.execute("INSERT OR IGNORE INTO states VALUES (?, ?)", (digest, change.body))
    row = connection.execute(
        "UPDATE desired SET version = version + 1, state = ? WHERE device = ? RETURNING version",
        (digest, device),
    ).fetchone()
    connection.execute(
        "INSERT INTO history (device, version, at_ms, state, who, cause) VALUES (?, ?, ?, ?, ?, ?)",
        (device, int(row[0]), at_ms, digest, who, cause),
    )


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


_NOTHING = _digest(msgspec.json.encode(DesiredState()))
"""A device of which nothing was ever said, and now neither, gets no version."""
_states = msgspec.json.Decoder(DesiredState)
_tag_decoder = msgspec.json.Decoder(dict[str, str])
