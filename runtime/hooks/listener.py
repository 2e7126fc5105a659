"""Listens to changes of one deployment's scale: asks hooks before, tells them after, and counts.

listener = HookListener("web", hooks=DeploymentHooks("web"), declared=lambda: service.hooks)
listener.begins(before)        # False: not yet
listener.waits()               # "2 -> 4 replicas: put off by the hook before it: a backup runs"
listener.ended(after)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from registry.deployments import Deployments, Hooks
from registry.deployments.hooks import SECRET
from registry.errors import RegistryError
from runtime.autoscale.change import After, Before
from runtime.hooks.gate import Gate, passed
from runtime.hooks.running import Asking, DeploymentHooks, HookFigures, HookNote

Direction = Literal["up", "down"]
logger = logging.getLogger("inferry.deployments")


@dataclass(frozen=True, slots=True)
class ChangeFigures:
    """Since the controller began: changes that began, by cause and direction, those that ended, by
    outcome, and what came of hooks."""

    begun: Mapping[tuple[str, Direction], int] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    hooks: HookFigures = field(default_factory=HookFigures)


class HookListener:
    """Called in the thread of its deployment; ``figures`` in any.
    ``declared``: the hooks as they are now; raises RegistryError."""

    def __init__(
        self,
        name: str,
        *,
        hooks: DeploymentHooks,
        declared: Callable[[], Hooks],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._hooks, self._declared, self._clock = name, hooks, declared, clock
        self._known = Hooks()
        self._gate = Gate()
        self._asking: Asking | None = None
        self._told: set[str] = set()
        """Changes that began, or that somebody was asked about."""
        self._rounds: tuple[str, int] = "", 0
        """A change, and how often somebody was asked about it."""
        self._begun: dict[tuple[str, Direction], int] = {}
        self._ended: dict[str, int] = {}
        self._waits: str | None = None

    def __repr__(self) -> str:
        return f"HookListener({self._name}, {self._gate})"

    def begins(self, change: Before) -> bool:
        """Whether it may begin; to be called again with the same one until it may."""
        hooks = self._hooks_now()
        if not hooks.has_before:
            self._gate, self._asking = Gate(), None
            return self._begin(change)
        answer = None if self._asking is None else self._asking.answer
        found = passed(self._gate, change, answer, now_s=self._clock(), timeout_s=hooks.timeout_s)
        self._gate = found.gate
        if found.is_asking:
            self._told.add(change.change)
            self._asking = self._hooks.ask(hooks, change, round=self._round(change))
        elif found.gate.asked is None:
            self._asking = None
        self._waits = self._why(change)
        return found.may_begin and self._begin(change)

    def ended(self, change: After) -> None:
        """Tell it, where it was told that it begins: what was put off together with another change
        was never asked about."""
        self._waits = None
        if change.change not in self._told:
            return
        self._told.discard(change.change)
        outcome = change.outcome.value
        self._ended = {**self._ended, outcome: self._ended.get(outcome, 0) + 1}
        self._hooks.tell(self._hooks_now(), change)

    def waits(self) -> str | None:
        """For what the change waits that is held back."""
        return self._waits

    def figures(self) -> ChangeFigures:
        """As they are now."""
        return ChangeFigures(self._begun, self._ended, self._hooks.figures())

    def notes(self) -> tuple[HookNote, ...]:
        """What came of each hook last."""
        return self._hooks.notes()

    def remember(self, notes: tuple[HookNote, ...]) -> None:
        """What an earlier controller had."""
        self._hooks.remember(notes)

    def close(self) -> None:
        """What waits to be told is dropped; what is being told has a moment."""
        self._hooks.close()

    def _begin(self, change: Before) -> bool:
        self._waits = None
        self._told.add(change.change)
        direction: Direction = "up" if change.to_replicas > change.from_replicas else "down"
        key = change.cause.value, direction
        self._begun = {**self._begun, key: self._begun.get(key, 0) + 1}
        return True

    def _round(self, change: Before) -> int:
        last, rounds = self._rounds
        self._rounds = change.change, rounds + 1 if last == change.change else 1
        return self._rounds[1]

    def _why(self, change: Before) -> str | None:
        what = f"{change.from_replicas} -> {change.to_replicas} replicas"
        if self._gate.put_off is not None:
            said = self._gate.put_off.said
            return f"{what}: put off by the hook before it: {said}"
        if self._gate.asked is not None:
            return f"{what}: waits for the hook before it"
        return None

    def _hooks_now(self) -> Hooks:
        """The last ones that could be read: a workspace that cannot be is no reason to stop."""
        try:
            self._known = self._declared()
        except RegistryError as error:
            logger.warning("%s: its hooks cannot be read: %s", self._name, error)
        return self._known


def listener_of(
    deployments: Deployments, told: Callable[[str], None]
) -> Callable[[str], HookListener]:
    """Makes the listener of a deployment of this workspace."""

    def made(name: str) -> HookListener:
        hooks = DeploymentHooks(
            name, secret=lambda: deployments.secrets(name).get(SECRET), told=told
        )
        return HookListener(name, hooks=hooks, declared=lambda: deployments.get(name).service.hooks)

    return made
