"""The states of a rollout and of the devices in it, and which follow which.

    running ──> completed                    the layer has the new version from now on
     │   ^
     v   │
    paused                                   by a person, or by a threshold ("pause")
     ├────> aborted                          exposed devices keep the new version
     └────> rolling back ──> rolled back     exposed devices get what they had

A newer rollout, or a deployment, of the same module of the layer makes each of them "superseded".
What a device runs meanwhile: ``spec_for``. A device that joins during a rollout is no member: it
gets the old version, and the new one when the rollout is completed.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from edge.errors import ConflictError
from edge.hub.rollout_policy import Policy
from edge.messages.desired import Module

State = Literal[
    "running", "paused", "completed", "aborted", "rolling back", "rolled back", "superseded"
]
Action = Literal["pause", "resume", "complete", "abort", "roll back", "restored", "supersede"]
Outcome = Literal["pending", "exposed", "succeeded", "failed", "timed out", "skipped", "gone"]

MOVES: dict[tuple[State, Action], State] = {
    ("running", "pause"): "paused",
    ("running", "complete"): "completed",
    ("running", "abort"): "aborted",
    ("running", "roll back"): "rolling back",
    ("paused", "resume"): "running",
    ("paused", "abort"): "aborted",
    ("paused", "roll back"): "rolling back",
    ("aborted", "roll back"): "rolling back",
    ("completed", "roll back"): "rolling back",
    ("rolling back", "restored"): "rolled back",
    ("running", "supersede"): "superseded",
    ("paused", "supersede"): "superseded",
    ("aborted", "supersede"): "superseded",
    ("rolling back", "supersede"): "superseded",
    ("rolled back", "supersede"): "superseded",
}
ACTIVE: tuple[State, ...] = ("running", "paused", "rolling back")
"""In these the engine has something to do."""
ENDED: tuple[State, ...] = ("completed", "superseded")
"""In these it says nothing about what devices run: the layer does."""
FAILED: tuple[Outcome, ...] = ("failed", "timed out")


class Rollout(msgspec.Struct, frozen=True, omit_defaults=True):
    """``old``: what the layer had (None: no such module). ``batch``: the one under way, from 0.
    ``passed_ms``: when that had succeeded. ``changed_ms``: since when it is in its state, and
    ``reason`` why. ``is_stopped``: a threshold paused it."""

    id: int
    layer: str
    module: str
    old: Module | None
    new: Module
    policy: Policy
    by: str
    created_ms: int
    changed_ms: int
    state: State = "running"
    batch: int = 0
    passed_ms: int | None = None
    reason: str = ""
    is_stopped: bool = False

    def moved(self, action: Action, now_ms: int, reason: str = "") -> Rollout:
        """In the next state. Raises ConflictError for a move that there is not."""
        state = MOVES.get((self.state, action))
        if state is None:
            raise ConflictError(f"rollout {self.id} is {self.state}: it cannot {action}")
        return msgspec.structs.replace(
            self, state=state, changed_ms=now_ms, reason=reason, is_stopped=False, passed_ms=None
        )

    @property
    def title(self) -> str:
        """For people: "rollout 7 of cameras/digits"."""
        return f"rollout {self.id} of {self.layer}/{self.module}"


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device in a rollout. ``exposed_ms``: since when it is told to run the new version, in
    desired version ``version``. ``base``: what it had before, when that was not the rollout's
    ``old``. ``is_forgiven``: it failed, and somebody resumed all the same. ``is_restored``: a roll
    back has reached it."""

    device: str
    outcome: Outcome = "pending"
    outcome_ms: int | None = None
    error: str | None = None
    batch: int | None = None
    exposed_ms: int | None = None
    version: int = 0
    base: Module | None = None
    is_forgiven: bool = False
    is_restored: bool = False


def spec_for(rollout: Rollout, member: Member | None, standard: Module | None) -> Module | None:
    """What the layer shall say of the module to this device. ``standard``: what it says to those
    that are in no rollout."""
    if member is None or rollout.state in ENDED:
        return standard
    if member.exposed_ms is not None and rollout.state not in ("rolling back", "rolled back"):
        return rollout.new
    return member.base or standard


def rank(rollout_id: int, device: str) -> bytes:
    """Devices are exposed in this order: it is another one for each rollout, and always the same
    for one."""
    return hashlib.sha256(f"{rollout_id}/{device}".encode()).digest()
