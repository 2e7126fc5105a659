"""Rollouts, as people start, watch and stop them. What they do by themselves: rollout_engine.py.

rollouts = Rollouts(database)
started = rollouts.start("cameras", "digits", image="digits:4", digest=digest, by="ann")
rollouts.show(started.id)
rollouts.pause(started.id, by="ann"); rollouts.resume(...); rollouts.abort(...)
rollouts.roll_back(started.id, by="ann", reason="too slow")
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from edge.errors import ConflictError, InvalidSpecError
from edge.hub import deployment_rows, publishing, rollout_rows
from edge.hub.database import Database
from edge.hub.deployment_rules import check_layer
from edge.hub.deployments import describe_images, now_ms
from edge.hub.rollout_policy import Policy, check, targets
from edge.hub.rollout_rows import Counts
from edge.hub.rollout_settling import settle
from edge.hub.rollout_states import FAILED, Action, Member, Rollout, rank, spec_for
from edge.hub.rollout_steps import Event, Step
from edge.layering import Layer, canonical_module, compose, with_variants
from edge.messages.desired import Module, Variant


class RolloutView(msgspec.Struct, frozen=True):
    """A rollout, for people. ``batch``: the one under way, from 0. ``devices``: in it now;
    ``exposed``: of these, those that were told to run the new version; ``outcomes``: how many of
    each; ``targets``: how many devices have the new version after each batch."""

    id: int
    layer: str
    module: str
    state: str
    reason: str
    batch: int
    batches: int
    targets: tuple[int, ...]
    devices: int
    exposed: int
    succeeded: int
    failed: int
    outcomes: dict[str, int]
    by: str
    created_ms: int
    changed_ms: int
    old_image: str | None
    new_image: str
    old_digest: str | None
    new_digest: str
    new_variants: tuple[Variant, ...]
    policy: Policy


class Rollouts:
    """Of one hub. Errors: NotFoundError, InvalidSpecError, ConflictError, HubError."""

    def __init__(self, database: Database, clock_ms: Callable[[], int] = now_ms) -> None:
        self._database = database
        self._clock_ms = clock_ms

    def start(
        self,
        layer: str,
        module: str,
        *,
        by: str,
        image: str | None = None,
        digest: str | None = None,
        variants: Sequence[Variant] = (),
        spec: Module | None = None,
        policy: Policy | None = None,
    ) -> RolloutView:
        """Bring ``image`` with ``digest``, or all of ``spec``, to the devices of the layer, batch
        by batch; with it ``variants`` for some of them (those of other conditions stay as they
        are). A rollout of the same module that is under way, or was stopped, ends here: its
        devices keep what they have until this one reaches them."""
        policy = check(policy or Policy())
        with self._database.writer() as connection:
            stored = deployment_rows.layer(connection, layer).layer
            old = stored.module(module)
            new = canonical_module(_new_spec(layer, module, old, image, digest, variants, spec))
            if module in stored.removed:
                raise ConflictError(f"the deployment {layer} removes {module}; change it first")
            target = check_layer(stored.with_module(module, new))
            before = rollout_rows.current(connection).get((layer, module))
            if new == old and before is None:
                raise ConflictError(f"{layer}/{module} is that already: {new.image}")
            at_ms = self._clock_ms()
            members = _members(connection, target, module, old, before)
            if before is not None:
                self._end(connection, before, at_ms, by)
            draft = Rollout(0, layer, module, old, new, policy, by, at_ms, at_ms)
            rollout = rollout_rows.insert(connection, draft, members)
            note = f"{old.image if old else 'nothing'} -> {describe_images(new)}"
            note += f", {len(members)} devices"
            _tell(connection, rollout, at_ms, by, "started", note)
            return _view(rollout, _count(members))

    def pause(self, id: int, *, by: str, reason: str = "") -> RolloutView:
        """No further device gets the new version until ``resume``."""
        return self._move(id, "pause", by, reason)

    def resume(self, id: int, *, by: str, reason: str = "") -> RolloutView:
        """Go on. When a threshold had paused it, the failures until now no longer count."""
        return self._move(id, "resume", by, reason)

    def abort(self, id: int, *, by: str, reason: str = "") -> RolloutView:
        """Stop here: who has the new version keeps it, the others keep the old one."""
        return self._move(id, "abort", by, reason)

    def roll_back(self, id: int, *, by: str, reason: str = "") -> RolloutView:
        """Every device that got the new version gets what it had before; also after the rollout was
        completed, as long as the layer was not changed since."""
        return self._move(id, "roll back", by, reason)

    def all(self) -> list[RolloutView]:
        """The oldest first."""
        with self._database.reader() as connection:
            counted = rollout_rows.counts(connection)
            return [
                _view(rollout, counted.get(rollout.id, Counter()))
                for rollout in rollout_rows.all_rollouts(connection)
            ]

    def show(self, id: int) -> RolloutView:
        """Raises NotFoundError."""
        with self._database.reader() as connection:
            rollout = rollout_rows.load(connection, id)
            return _view(rollout, rollout_rows.counts(connection, id).get(id, Counter()))

    def members(self, id: int) -> list[Member]:
        """Its devices, in the order in which they get the new version. Raises NotFoundError."""
        with self._database.reader() as connection:
            rollout_rows.load(connection, id)
            found = rollout_rows.members(connection, id).values()
            return sorted(found, key=lambda member: rank(id, member.device))

    def _move(self, id: int, action: Action, by: str, reason: str) -> RolloutView:
        with self._database.writer() as connection:
            before = rollout_rows.load(connection, id)
            at_ms = self._clock_ms()
            known = rollout_rows.members(connection, id)
            members = [*known.values()]
            if before.state == "completed" and action == "roll back":
                _check_newest(connection, before)
            after = before.moved(action, at_ms, reason)
            if action == "resume":
                after = replace(after, passed_ms=before.passed_ms)
                if before.is_stopped:
                    members = [_forgiven(member) for member in members]
            what = "resumed" if action == "resume" else after.state
            step = Step(after, tuple(members), (Event(what, note=reason),))
            settle(connection, before, known, step, at_ms=at_ms, who=by)
            return _view(after, _count(members))

    def _end(self, connection: sqlite3.Connection, before: Rollout, at_ms: int, by: str) -> None:
        ended = before.moved("supersede", at_ms, "a newer rollout")
        rollout_rows.save(connection, ended)
        _tell(connection, ended, at_ms, by, "superseded", ended.reason)


def _new_spec(
    layer: str,
    module: str,
    old: Module | None,
    image: str | None,
    digest: str | None,
    variants: Sequence[Variant],
    spec: Module | None,
) -> Module:
    if spec is not None:
        if spec.name != module or image is not None or digest is not None or variants:
            raise InvalidSpecError("give the new version as spec, or as image and digest")
        return spec
    if image is None or digest is None:
        raise InvalidSpecError("give the new version as spec, or as image and digest")
    if old is None:
        raise InvalidSpecError(
            f"the deployment {layer} has no module {module}; give all of the new one as spec"
        )
    return with_variants(replace(old, image=image, digest=digest), variants)


def _members(
    connection: sqlite3.Connection,
    target: Layer,
    module: str,
    old: Module | None,
    before: Rollout | None,
) -> list[Member]:
    """The devices that would run the module as ``target`` says it, each with what it runs now."""
    others = [each.layer for each in deployment_rows.layers(connection)]
    layers = [target, *(each for each in others if each.name != target.name)]
    former = rollout_rows.members(connection, before.id) if before else {}
    members: list[Member] = []
    for device, tags in publishing.tags_of(connection):
        if compose(device, tags, layers).sources.get(module) != target.name:
            continue
        now = spec_for(before, former.get(device), old) if before else old
        members.append(Member(device, base=None if now == old else now))
    return members


def _check_newest(connection: sqlite3.Connection, rollout: Rollout) -> None:
    layer = deployment_rows.layer(connection, rollout.layer).layer
    newest = rollout_rows.newest_id(connection, rollout.layer, rollout.module)
    if newest != rollout.id or layer.module(rollout.module) != rollout.new:
        raise ConflictError(
            f"{rollout.layer}/{rollout.module} was changed since rollout {rollout.id};"
            " deploy the version that you want"
        )


def _forgiven(member: Member) -> Member:
    return replace(member, is_forgiven=True) if member.outcome in FAILED else member


def _tell(
    connection: sqlite3.Connection, rollout: Rollout, at_ms: int, by: str, what: str, note: str
) -> None:
    deployment_rows.tell(
        connection,
        at_ms=at_ms,
        who=by,
        what=what,
        layer=rollout.layer,
        module=rollout.module,
        rollout=rollout.id,
        note=note,
    )


def _count(members: Iterable[Member]) -> Counts:
    return Counter((member.outcome, member.exposed_ms is not None) for member in members)


def _view(rollout: Rollout, counts: Counts) -> RolloutView:
    outcomes: Counter[str] = Counter()
    for (outcome, _), number in counts.items():
        outcomes[outcome] += number
    devices = counts.total() - outcomes["gone"]
    sizes = targets(rollout.policy, devices)
    return RolloutView(
        id=rollout.id,
        layer=rollout.layer,
        module=rollout.module,
        state=rollout.state,
        reason=rollout.reason,
        batch=rollout.batch,
        batches=len(sizes),
        targets=tuple(sizes),
        devices=devices,
        exposed=sum(
            number
            for (outcome, is_exposed), number in counts.items()
            if is_exposed and outcome != "gone"
        ),
        succeeded=outcomes["succeeded"],
        failed=sum(outcomes[each] for each in FAILED),
        outcomes=dict(outcomes),
        by=rollout.by,
        created_ms=rollout.created_ms,
        changed_ms=rollout.changed_ms,
        old_image=rollout.old.image if rollout.old else None,
        new_image=rollout.new.image,
        old_digest=rollout.old.digest if rollout.old else None,
        new_digest=rollout.new.digest,
        new_variants=rollout.new.variants,
        policy=rollout.policy,
    )
