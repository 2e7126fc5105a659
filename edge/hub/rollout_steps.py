"""One step of a rollout, from what its devices report: which get the new version next, which have
failed, and whether it goes on. Decides only; the engine persists and publishes.

    after = step(rollout, members, seen, now_ms)
    after.rollout, after.members          # all of them, in their order
    after.events                          # for the ledger
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from edge.hub.rollout_policy import at_once, targets
from edge.hub.rollout_states import FAILED, Action, Member, Outcome, Rollout, rank
from edge.layering import for_device
from edge.messages.reported import ModuleReport

GRACE_S = 120.0
"""A hub that was away knows nothing of what devices did meanwhile: for so long after its return,
or until the timeout if that is shorter, nothing times out."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A device as the hub knows it. ``has_new``: its desired state says the rollout's new version.
    ``error``: why its desired state cannot be made. ``desired_version`` and ``applied_version``:
    what it reports; ``report``: of the module. ``tags``: they choose among variants."""

    is_online: bool = True
    has_new: bool = True
    error: str | None = None
    desired_version: int = 0
    applied_version: int = 0
    report: ModuleReport | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """For the ledger."""

    what: str
    device: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step comes to. ``exposed``: devices that get the new version by it."""

    rollout: Rollout
    members: tuple[Member, ...]
    events: tuple[Event, ...] = ()
    exposed: tuple[str, ...] = ()


def step(
    rollout: Rollout,
    members: Iterable[Member],
    seen: Mapping[str, Seen],
    now_ms: int,
    listening_s: float = math.inf,
) -> Step:
    """``seen``: the devices that there are; a member that is not in it is gone. ``listening_s``:
    for how long the hub has been there without a break."""
    is_fair = listening_s >= min(GRACE_S, rollout.policy.timeout_s)
    work = _Work(rollout, members, seen, now_ms, is_fair)
    if rollout.state in ("running", "paused"):
        work.observe()
    if rollout.state == "running":
        work.proceed()
    elif rollout.state == "rolling back":
        work.restore()
    return Step(work.rollout, tuple(work.members), tuple(work.events), tuple(work.exposed))


class _Work:
    """One step while it is made."""

    def __init__(
        self,
        rollout: Rollout,
        members: Iterable[Member],
        seen: Mapping[str, Seen],
        now_ms: int,
        is_fair: bool,
    ) -> None:
        self.rollout = rollout
        self.members = sorted(members, key=lambda member: rank(rollout.id, member.device))
        self.events: list[Event] = []
        self.exposed: list[str] = []
        self._seen = seen
        self._now_ms = now_ms
        self._is_fair = is_fair

    def observe(self) -> None:
        """The outcome of each device."""
        for index, member in enumerate(self.members):
            outcome, error = observed(
                self.rollout, member, self._seen.get(member.device), self._now_ms
            )
            if outcome == "timed out" and not self._is_fair:
                continue
            if outcome != member.outcome:
                self.members[index] = replace(
                    member, outcome=outcome, error=error, outcome_ms=self._now_ms
                )
                self._tell(outcome, member.device, error or "")

    def proceed(self) -> None:
        """Stop, or expose more devices, or go on to the next batch, or be through."""
        if self._is_stopped(is_whole=False):
            return
        while not self._is_waiting():
            if self._is_stopped(is_whole=True):
                return
            if not self._has_soaked():
                return
            if self.rollout.batch + 1 >= len(self._targets):
                self._complete()
                return
            self._tell(f"batch {self.rollout.batch + 1} passed")
            self.rollout = replace(self.rollout, batch=self.rollout.batch + 1, passed_ms=None)

    def restore(self) -> None:
        """Wait until all that were exposed have what they had, or time is up."""
        left = 0
        for index, member in enumerate(self.members):
            if member.exposed_ms is None or member.is_restored:
                continue
            if has_base(self.rollout, member, self._seen.get(member.device)):
                self.members[index] = replace(member, is_restored=True)
                self._tell("restored", member.device)
            else:
                left += 1
        passed_ms = self._now_ms - self.rollout.changed_ms
        is_late = self._is_fair and passed_ms >= self.rollout.policy.timeout_s * 1000
        if left == 0 or is_late:
            note = f"{left} devices have not confirmed it" if left else self.rollout.reason
            self.rollout = self.rollout.moved("restored", self._now_ms, note)
            self._tell("rolled back", note=note)

    @property
    def _counted(self) -> list[Member]:
        return [member for member in self.members if member.outcome != "gone"]

    @property
    def _targets(self) -> list[int]:
        return targets(self.rollout.policy, len(self._counted))

    def _needed(self) -> int:
        """How many devices this batch has still to expose."""
        exposed = sum(member.exposed_ms is not None for member in self._counted)
        return max(0, self._targets[self.rollout.batch] - exposed)

    def _is_waiting(self) -> bool:
        """Expose what can be; whether the batch has still to be waited for."""
        if self.rollout.passed_ms is not None:
            return False
        needed = self._needed()
        on_the_way = sum(member.outcome == "exposed" for member in self.members)
        room = at_once(self.rollout.policy, len(self._counted)) - on_the_way
        chosen = self._candidates()[: max(0, min(needed, room))]
        self._expose(chosen)
        if chosen or on_the_way:
            return True
        return needed > 0 and not any(  # all others are offline: go on only with some evidence
            member.outcome == "succeeded" and member.batch == self.rollout.batch
            for member in self.members
        )

    def _candidates(self) -> list[int]:
        is_skipping = self.rollout.policy.skip_offline
        return [
            index
            for index, member in enumerate(self.members)
            if member.outcome == "pending"
            and not (is_skipping and not self._seen[member.device].is_online)
        ]

    def _expose(self, chosen: Sequence[int]) -> None:
        for index in chosen:
            self.members[index] = replace(
                self.members[index],
                outcome="exposed",
                outcome_ms=self._now_ms,
                exposed_ms=self._now_ms,
                batch=self.rollout.batch,
            )
            self.exposed.append(self.members[index].device)
            self._tell("exposed", self.members[index].device, f"batch {self.rollout.batch + 1}")

    def _is_stopped(self, *, is_whole: bool) -> bool:
        needed = 0 if is_whole else self._needed()
        reason = stop_reason(self.rollout, self._counted, needed)
        if reason is None:
            return False
        actions: dict[str, Action] = {"roll back": "roll back", "stop": "abort", "pause": "pause"}
        moved = self.rollout.moved(actions[self.rollout.policy.on_failure], self._now_ms, reason)
        self.rollout = replace(moved, is_stopped=moved.state == "paused")
        self._tell(self.rollout.state, note=reason)
        return True

    def _has_soaked(self) -> bool:
        if self.rollout.passed_ms is None:
            self.rollout = replace(self.rollout, passed_ms=self._now_ms)
        assert self.rollout.passed_ms is not None
        return self._now_ms - self.rollout.passed_ms >= self.rollout.policy.soak_s * 1000

    def _complete(self) -> None:
        for index, member in enumerate(self.members):
            if member.outcome == "pending":
                self.members[index] = replace(member, outcome="skipped", outcome_ms=self._now_ms)
                self._tell("skipped", member.device, "it is offline")
        self.rollout = self.rollout.moved("complete", self._now_ms)
        self._tell("completed")

    def _tell(self, what: str, device: str | None = None, note: str = "") -> None:
        self.events.append(Event(what, device, note))


def observed(
    rollout: Rollout, member: Member, seen: Seen | None, now_ms: int
) -> tuple[Outcome, str | None]:
    """The outcome of one device, and why. It follows what the device says: one that had succeeded
    can fail later, and one that was too late can still succeed."""
    if member.outcome == "gone" or seen is None:
        return "gone", member.error
    if member.exposed_ms is None:
        return member.outcome, member.error
    if seen.error is not None:
        return "failed", seen.error
    if not seen.has_new:
        return "gone", "another layer decides what it runs"
    report, new = seen.report, for_device(rollout.new, member.device, seen.tags)
    if report is not None and report.wanted == new.digest and _is_fresh(member, seen):
        if report.phase == "failed":
            return "failed", report.error or "it gave the new version up"
        if report.phase == "idle" and report.digest == new.digest:
            if report.health == "healthy" and _is_applied(rollout, member, seen):
                return "succeeded", None
            if member.outcome == "succeeded" and report.health in ("unhealthy", "stopped"):
                return "failed", f"it was healthy, and became {report.health}"
    is_late = now_ms - member.exposed_ms >= rollout.policy.timeout_s * 1000
    if member.outcome == "exposed" and is_late:
        return "timed out", _why_late(seen)
    return member.outcome, member.error


def has_base(rollout: Rollout, member: Member, seen: Seen | None) -> bool:
    """Whether a device that was exposed runs again what it did."""
    if seen is None or member.outcome == "gone":
        return True
    if not _is_fresh(member, seen):
        return False
    base = member.base or rollout.old
    if base is None:
        return seen.report is None or seen.report.digest is None
    base = for_device(base, member.device, seen.tags)
    return (
        seen.report is not None
        and seen.report.digest == base.digest
        and seen.report.wanted == base.digest
    )


def stop_reason(rollout: Rollout, counted: Sequence[Member], needed: int) -> str | None:
    """Why it must not go on; None: it may. ``needed``: how many devices the batch has still to
    expose: they count as if they will succeed."""
    policy = rollout.policy
    judged = [
        member for member in counted if member.exposed_ms is not None and not member.is_forgiven
    ]
    failures = _failures(judged)
    if failures and len(judged) >= policy.abort_minimum:
        percent = failures * 100.0 / len(judged)
        if percent >= policy.abort_percent:
            return (
                f"{failures} of {len(judged)} exposed devices failed:"
                f" {percent:.1f} %, and {policy.abort_percent:g} % stop it"
            )
    for batch in range(rollout.batch + 1):
        group = [member for member in judged if member.batch == batch]
        size = len(group) + (needed if batch == rollout.batch else 0)
        failures = _failures(group)
        if failures * 100.0 > (100.0 - policy.success_percent) * size + 1e-9:
            return (
                f"{failures} of {size} devices of batch {batch + 1} failed,"
                f" and {policy.success_percent:g} % must succeed"
            )
    return None


def _failures(members: Iterable[Member]) -> int:
    return sum(member.outcome in FAILED for member in members)


def _is_fresh(member: Member, seen: Seen) -> bool:
    """Whether what the device reports is about the desired version that the rollout gave it."""
    return seen.desired_version >= member.version


def _is_applied(rollout: Rollout, member: Member, seen: Seen) -> bool:
    """The digest tells a new image; other changes only the version that was applied does."""
    base = member.base or rollout.old
    if base is None:
        return True
    digests = [for_device(e, member.device, seen.tags).digest for e in (base, rollout.new)]
    if digests[0] != digests[1]:
        return True
    return seen.applied_version >= member.version


def _why_late(seen: Seen) -> str:
    if not seen.is_online:
        return "timed out: it is offline"
    if seen.report is None:
        return "timed out: it reports no such module"
    waits = f" for {seen.report.waiting_for}" if seen.report.waiting_for else ""
    return f"timed out: it is {seen.report.phase}{waits}, {seen.report.health}"
