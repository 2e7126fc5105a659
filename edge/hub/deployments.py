"""Deployments: layers of what devices shall run, changed by people, with a ledger of who did what.

    deployments = Deployments(database)
    deployments.put(Layer("cameras", 'role == "camera"', modules=(module,)), by="ann")
    deployments.all(); deployments.show("cameras"); deployments.delete("cameras", by="ann")
    deployments.device("camera-1")                       # what it shall run, and from which layer
    deployments.at("camera-1", at_ms)                    # what it was to run then, and who said so

Each change is one transaction with the new desired state of every device in it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from types import EllipsisType

import msgspec

from edge.errors import ConflictError, NotFoundError
from edge.hub import deployment_rows, publishing, rollout_rows
from edge.hub.database import Database
from edge.hub.deployment_rows import Entry
from edge.hub.deployment_rules import check_layer
from edge.hub.rollout_states import ACTIVE, Rollout
from edge.layering import Layer
from edge.messages.desired import Module, Settings, Variant
from edge.topics import check_device


class LayerView(msgspec.Struct, frozen=True):
    """A layer. ``devices``: how many it is for, now. ``rollouts``: numbers of those under way."""

    layer: Layer
    devices: int
    rollouts: tuple[int, ...]
    changed_ms: int
    changed_by: str


class DeviceView(msgspec.Struct, frozen=True):
    """What a device shall run. ``version`` 0: nothing was ever said. ``sources``: the layer that
    each module is from. ``error``: why what the layers say cannot be; the device keeps what it
    had."""

    device: str
    version: int
    modules: tuple[Module, ...]
    settings: Settings
    sources: dict[str, str]
    error: str | None


class PastView(msgspec.Struct, frozen=True):
    """A version of what a device was to run: from when on, who made it so, and by what."""

    device: str
    version: int
    at_ms: int
    who: str
    cause: str
    modules: tuple[Module, ...]
    settings: Settings


def now_ms() -> int:
    """Since 1970."""
    return time.time_ns() // 1_000_000


class Deployments:
    """Of one hub. Errors: NotFoundError, InvalidSpecError, ConflictError, HubError."""

    def __init__(self, database: Database, clock_ms: Callable[[], int] = now_ms) -> None:
        self._database = database
        self._clock_ms = clock_ms

    def put(
        self,
        layer: Layer,
        *,
        by: str,
        supersede: bool = False,
        read: Layer | EllipsisType | None = ...,
    ) -> list[str]:
        """Make it so, new or in place of the layer of that name. Returns the devices whose desired
        state changes by it. A rollout under way of a module that this changes is refused, unless
        ``supersede``: then the rollout ends here. ``read``: what ``layer`` was made from (None:
        there was none); when that is no more what is there, as a rollout was completed meanwhile,
        it is refused."""
        return self._put(layer, by, supersede=supersede, is_new=False, read=read)

    def create(self, layer: Layer, *, by: str) -> list[str]:
        """As ``put``, of a new name. Raises ConflictError when it is there."""
        return self._put(layer, by, supersede=False, is_new=True)

    def _put(
        self,
        layer: Layer,
        by: str,
        *,
        supersede: bool,
        is_new: bool,
        read: Layer | EllipsisType | None = ...,
    ) -> list[str]:
        check_layer(layer)
        with self._database.writer() as connection:
            before = _layer_or_none(connection, layer.name)
            if before is not None and is_new:
                raise ConflictError(f"there is a deployment {layer.name} already")
            if read is not ... and before != read:
                raise ConflictError(f"deployment {layer.name} was changed meanwhile; try again")
            if before == layer:
                return []
            at_ms = self._clock_ms()
            for rollout in _rollouts_of(connection, layer.name):
                if before is None or layer.module(rollout.module) != before.module(rollout.module):
                    _supersede(connection, rollout, supersede, at_ms, by, "a deployment")
            deployment_rows.put_layer(connection, layer, at_ms=at_ms, who=by)
            deployment_rows.tell(
                connection,
                at_ms=at_ms,
                who=by,
                what="changed" if before else "created",
                layer=layer.name,
                note=describe_change(before, layer),
            )
            return publishing.refresh(
                connection, at_ms=at_ms, who=by, cause=f"deployment {layer.name}"
            )

    def delete(self, name: str, *, by: str, supersede: bool = False) -> list[str]:
        """Its devices no longer get what it says. Returns those that change."""
        with self._database.writer() as connection:
            deployment_rows.layer(connection, name)
            at_ms = self._clock_ms()
            for rollout in _rollouts_of(connection, name):
                _supersede(connection, rollout, supersede, at_ms, by, "its layer was deleted")
            deployment_rows.delete_layer(connection, name)
            deployment_rows.tell(connection, at_ms=at_ms, who=by, what="deleted", layer=name)
            return publishing.refresh(
                connection, at_ms=at_ms, who=by, cause=f"deployment {name} was deleted"
            )

    def all(self) -> list[LayerView]:
        """By name."""
        with self._database.reader() as connection:
            tags = [*publishing.tags_of(connection)]
            active = [
                each for each in rollout_rows.current(connection).values() if each.state in ACTIVE
            ]
            return [_view(each, tags, active) for each in deployment_rows.layers(connection)]

    def show(self, name: str) -> LayerView:
        """Raises NotFoundError."""
        with self._database.reader() as connection:
            stored = deployment_rows.layer(connection, name)
            active = [each for each in _rollouts_of(connection, name) if each.state in ACTIVE]
            return _view(stored, [*publishing.tags_of(connection)], active)

    def device(self, name: str) -> DeviceView:
        """What it shall run. Raises NotFoundError for a device that is not enrolled."""
        with self._database.reader() as connection:
            tags = dict(publishing.tags_of(connection)).get(name)
            if tags is None:
                raise NotFoundError(f"no device {name[:70]!a} is enrolled")
            composed = publishing.Composer(connection, [name]).compose(name, tags)
            desired = publishing.desired_for(connection, name)
            _, error = publishing.encoded(composed)
            return DeviceView(
                name,
                desired.version if desired else 0,
                desired.modules if desired else (),
                desired.settings if desired else Settings(),
                composed.sources,
                error,
            )

    def devices_in_error(self) -> dict[str, str]:
        """Those whose layers contradict each other, and why."""
        with self._database.reader() as connection:
            rows = connection.execute(
                "SELECT device, error FROM desired JOIN devices ON devices.name = device"
                " WHERE error IS NOT NULL ORDER BY device"
            )
            return {str(row[0]): str(row[1]) for row in rows}

    def history(self, device: str, limit: int = 100) -> list[PastView]:
        """The newest ``limit`` versions of a device's desired state, the oldest first; also of one
        that is no longer enrolled."""
        return self._past(device, "1", (), limit)

    def at(self, device: str, at_ms: int) -> PastView | None:
        """What it was to run at this time, and who said so; None: nothing yet."""
        return next(iter(self._past(device, "at_ms <= ?", (at_ms,), 1)), None)

    def ledger(
        self,
        *,
        layer: str | None = None,
        rollout: int | None = None,
        device: str | None = None,
        limit: int = 1000,
    ) -> list[Entry]:
        """Who did what, when: the newest ``limit`` entries, the oldest first."""
        with self._database.reader() as connection:
            return deployment_rows.ledger(
                connection, layer=layer, rollout=rollout, device=device, limit=limit
            )

    def _past(self, device: str, where: str, values: tuple[int, ...], limit: int) -> list[PastView]:
        check_device(device)
        with self._database.reader() as connection:
            rows = connection.execute(
                "SELECT version, at_ms, who, cause, state FROM history"
                f" WHERE device = ? AND {where} ORDER BY version DESC LIMIT ?",
                (device, *values, limit),
            ).fetchall()
            found = []
            for version, at_ms, who, cause, digest in reversed(rows):
                state = rollout_rows.state_of(connection, digest)
                found.append(
                    PastView(device, version, at_ms, who, cause, state.modules, state.settings)
                )
            return found


def describe_change(before: Layer | None, after: Layer) -> str:
    """What is another, in a line for the ledger."""
    old = {module.name: module for module in before.modules} if before else {}
    new = {module.name: module for module in after.modules}
    parts = [
        f"{name}: {describe_images(module)}"
        for name, module in new.items()
        if old.get(name) != module
    ]
    parts += [f"without {name}" for name in old if name not in new]
    parts += [
        f"removes {name}" for name in after.removed if not before or name not in before.removed
    ]
    if before is None or before.condition != after.condition:
        parts.append(f"for {after.device or after.condition}")
    if before is None or before.priority != after.priority:
        parts.append(f"priority {after.priority}")
    if before is not None and before.settings != after.settings:
        parts.append("settings")
    return "; ".join(parts)[:2000]


def describe_images(module: Module) -> str:
    """Its image, and those of its variants."""
    others = (f", {each.condition}: {_pinned(each)}" for each in module.variants)
    return _pinned(module) + "".join(others)


def _pinned(image: Module | Variant) -> str:
    return f"{image.image}@{image.digest[7:19]}"


def _view(
    stored: deployment_rows.StoredLayer,
    tags: list[tuple[str, dict[str, str]]],
    active: list[Rollout],
) -> LayerView:
    layer = stored.layer
    return LayerView(
        layer,
        sum(layer.is_for(device, its) for device, its in tags),
        tuple(rollout.id for rollout in active if rollout.layer == layer.name),
        stored.changed_ms,
        stored.changed_by,
    )


def _layer_or_none(connection: sqlite3.Connection, name: str) -> Layer | None:
    try:
        return deployment_rows.layer(connection, name).layer
    except NotFoundError:
        return None


def _rollouts_of(connection: sqlite3.Connection, layer: str) -> list[Rollout]:
    found = rollout_rows.current(connection)
    return [rollout for (name, _), rollout in found.items() if name == layer]


def _supersede(
    connection: sqlite3.Connection,
    rollout: Rollout,
    is_allowed: bool,
    at_ms: int,
    by: str,
    reason: str,
) -> None:
    if rollout.state in ACTIVE and not is_allowed:
        raise ConflictError(
            f"{rollout.title} is {rollout.state}; abort it or roll it back first, or supersede it"
        )
    rollout_rows.save(connection, rollout.moved("supersede", at_ms, reason))
    deployment_rows.tell(
        connection,
        at_ms=at_ms,
        who=by,
        what="superseded",
        layer=rollout.layer,
        module=rollout.module,
        rollout=rollout.id,
        note=reason,
    )
