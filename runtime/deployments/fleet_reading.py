"""What the hub's database knows of a deployment on devices, in one consistent view.

with database.reader() as connection:
    view = read_fleet(connection, "web", 'line == "3"')
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edge import conditions
from edge.errors import NotFoundError
from edge.hub import deployment_rows, devices, rollout_rows
from edge.hub.rollout_states import FAILED, Member, Rollout
from edge.layering import Layer, compose
from edge.messages.desired import Module
from edge.messages.reported import ModuleReport
from runtime.deployments.device_module import layer_name


@dataclass(frozen=True, slots=True)
class Device:
    """One that the deployment is for. ``wanted``: what it is told to run; ``report``: what it says
    of the module; ``is_ours``: no other layer decides about the module; ``error``: why its desired
    state cannot be."""

    name: str
    is_online: bool = True
    last_seen_ms: int | None = None
    wanted: Module | None = None
    report: ModuleReport | None = None
    is_ours: bool = True
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the newest rollout. ``failures``: why, by device."""

    devices: int = 0
    exposed: int = 0
    succeeded: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """``layer``: None where there is none yet; ``newest``: the newest rollout of the module, which
    may be over; ``leftover``: devices that are there and run the module, where nothing wants it."""

    layer: Layer | None = None
    newest: Rollout | None = None
    progress: Progress = field(default_factory=Progress)
    devices: Sequence[Device] = ()
    leftover: Sequence[str] = ()


def read_fleet(connection: sqlite3.Connection, name: str, condition: str) -> Fleet:
    """Raises InvalidSpecError for a condition that is none."""
    layer = _layer(connection, layer_name(name))
    id = rollout_rows.newest_id(connection, layer_name(name), name)
    newest = rollout_rows.load(connection, id) if id else None
    members = {} if newest is None else rollout_rows.members(connection, newest.id)
    found, leftover = _devices(connection, name, condition)
    return Fleet(layer, newest, progress_of(members.values()), found, leftover)


def progress_of(members: Iterable[Member]) -> Progress:
    """Of a rollout's members."""
    counted = [each for each in members if each.outcome != "gone"]
    return Progress(
        len(counted),
        sum(each.exposed_ms is not None for each in counted),
        sum(each.outcome == "succeeded" for each in counted),
        {each.device: each.error or each.outcome for each in counted if each.outcome in FAILED},
    )


def _layer(connection: sqlite3.Connection, name: str) -> Layer | None:
    try:
        return deployment_rows.layer(connection, name).layer
    except NotFoundError:
        return None


def _devices(
    connection: sqlite3.Connection, name: str, condition: str
) -> tuple[list[Device], list[str]]:
    is_for = conditions.parse(condition)
    others = _others(connection, name)
    states = _Desired(connection, name)
    found: list[Device] = []
    leftover: list[str] = []
    for device in devices.list_devices(connection):
        wanted, error = states.of(device.name)
        reports = () if device.reported is None else device.reported.modules
        report = next((each for each in reports if each.name == name), None)
        if is_for(device.name, device.tags):
            sources = compose(device.name, device.tags, others).sources if others else {}
            found.append(
                Device(
                    device.name,
                    device.is_online,
                    device.last_seen_ms,
                    wanted,
                    report,
                    is_ours=not others or sources.get(name) == layer_name(name),
                    error=error,
                )
            )
        runs = report is not None and report.digest is not None
        if device.is_online and runs and wanted is None:
            leftover.append(device.name)
    return found, leftover


def _others(connection: sqlite3.Connection, name: str) -> list[Layer]:
    """All layers, where others than the deployment's own say something of the module."""
    layers = [each.layer for each in deployment_rows.layers(connection)]
    own = layer_name(name)
    is_disputed = any(
        each.name != own and (each.module(name) is not None or name in each.removed)
        for each in layers
    )
    # While a rollout brings the module for the first time its own layer does not name it.
    named = [
        each.with_module(name, each.module(name) or Module(name, "", ""))
        if each.name == own
        else each
        for each in layers
    ]
    return named if is_disputed else []


class _Desired:
    """What devices are told of the module: many share one state."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._states: dict[str | None, Module | None] = {None: None}
        self._rows = {
            str(row[0]): (row[1], row[2])
            for row in connection.execute("SELECT device, state, error FROM desired")
        }

    def of(self, device: str) -> tuple[Module | None, str | None]:
        """And why it cannot be."""
        state, error = self._rows.get(device, (None, None))
        if state not in self._states:
            modules = rollout_rows.state_of(self._connection, state).modules
            self._states[state] = next((m for m in modules if m.name == self._name), None)
        return self._states[state], error
