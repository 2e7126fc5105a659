"""What to tell the hub next, so that devices come to run the goal. Pure.

memory = taken_up(memory, declared, attempt, wanted, fleet)      # kept before anything is done
step = next_step(wanted, target's layer, fleet, memory)

The hub's rollouts do the rest. One that was stopped is not begun again: somebody says what shall be
instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edge.hub.rollout_states import ENDED, Rollout, State
from edge.layering import Layer
from edge.messages.desired import Module
from registry.deployments import Deployment, Share
from runtime.deployments.fleet_reading import Device, Fleet

STOPPED: tuple[State, ...] = ("rolled back", "aborted")
"""It did not come to all devices."""


class DeviceMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the next controller must know. ``goal``: the revision that was taken up, and
    ``attempt``, by whose word (Deployments.attempt); ``after``: the newest rollout then, so that
    what is newer is the goal's own; ``before``: the revision that counted as live then, 0: none."""

    goal: int = 0
    attempt: int = 0
    after: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class PutLayer:
    """Say for which devices it is."""

    layer: Layer


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a rollout of the module; ``after``: what ``DeviceMemory.after`` must be before."""

    module: Module
    after: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Its devices had before what is wanted now."""

    rollout: int


Step = PutLayer | Begin | TakeBack


def taken_up(
    memory: DeviceMemory, declared: Deployment, attempt: int, wanted: Module, fleet: Fleet
) -> DeviceMemory:
    """The memory, with the goal as it is now. One that is named again is begun again where it was
    stopped."""
    if (memory.goal, memory.attempt) == (declared.goal, attempt):
        return memory
    if memory.goal != declared.goal:
        return DeviceMemory(declared.goal, attempt, newest_id(fleet), live_of(declared.traffic))
    own, after = own_rollout(wanted, fleet, memory), memory.after
    is_over = own is not None and own.state in STOPPED
    return DeviceMemory(memory.goal, attempt, newest_id(fleet) if is_over else after, memory.before)


def next_step(wanted: Module, layer: Layer, fleet: Fleet, memory: DeviceMemory) -> Step | None:
    """None: nothing, or to wait. ``layer``: the deployment's, as it should be, with the modules
    that it has."""
    if fleet.layer != layer:
        return PutLayer(layer)
    newest, own = fleet.newest, own_rollout(wanted, fleet, memory)
    if own is not None and own.state not in ENDED:
        return None
    if layer.module(wanted.name) == wanted and is_settled(wanted, newest, fleet.devices):
        return None
    if newest is not None and newest.state == "rolling back" and newest.old == wanted:
        return None
    if newest is not None and newest.state in ("running", "paused") and newest.old == wanted:
        return TakeBack(newest.id)
    return Begin(wanted, newest_id(fleet))


def own_rollout(wanted: Module, fleet: Fleet, memory: DeviceMemory) -> Rollout | None:
    """The one that brings the goal."""
    newest = fleet.newest
    is_own = newest is not None and newest.id > memory.after and newest.new == wanted
    return newest if is_own else None


def is_settled(wanted: Module, newest: Rollout | None, devices: Sequence[Device]) -> bool:
    """Whether all devices are told to run it, or the layer's word is for all of them."""
    if newest is None or newest.state in ENDED:
        return True
    is_under_way = newest.state in ("running", "paused", "rolling back")
    return not is_under_way and all(each.wanted == wanted for each in devices if each.is_ours)


def newest_id(fleet: Fleet) -> int:
    """0: there was no rollout yet."""
    return 0 if fleet.newest is None else fleet.newest.id


def live_of(traffic: Sequence[Share]) -> int:
    """The revision with the largest share; 0: none."""
    live = [share for share in traffic if not share.is_shadow]
    return max(live, key=lambda each: each.percent).revision if live else 0
