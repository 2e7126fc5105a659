"""How many replicas all of a deployment's traffic needs: one number, changed in one place.

scale = Scale("web", deployments, changes)
replicas = scale.now(declared, kept, seen, pages, held=0, now_s=now_s)
scale.look(wanted, seen, trouble, now_s)      # whether the last change is through
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.deployments import Deployment, Deployments, ServiceSettings
from runtime.autoscale import Cause, Decision
from runtime.autoscale.change import Before
from runtime.autoscale.reading import Reading
from runtime.deployments.changes import Changes
from runtime.deployments.fleet import Seen, ready_of, serving
from runtime.deployments.outside import Outside, with_outside
from runtime.deployments.rollouts import ACTOR
from runtime.deployments.scaling import Scaler


class Scale:
    """Of one deployment. Not for several threads at once."""

    def __init__(self, name: str, deployments: Deployments, changes: Changes) -> None:
        self._name, self._deployments, self._changes = name, deployments, changes
        self._scaler, self._outside = Scaler(), Outside(name)
        self._decided: Decision | None = None

    def __repr__(self) -> str:
        return f"Scale({self._name}, {self._decided})"

    def now(
        self,
        declared: Deployment,
        kept: int | None,
        seen: Sequence[Seen],
        pages: Mapping[str, bytes | None] | None,
        *,
        held: int,
        now_s: float,
    ) -> int:
        """What is wanted from now on. ``kept``: until now, None at the beginning; ``pages``: of
        /metrics where there are new ones; ``held``: requests that wait as there is no replica."""
        service = declared.service
        if kept is None or not declared.is_wanted:
            return first_scale(service) if kept is None else kept
        bounded = min(max(kept, service.least_replicas), service.most_replicas)
        if bounded != kept:
            said = f"{service.least_replicas} to {service.most_replicas} declared, not {kept}"
            self._decided = Decision(bounded, said, Cause.DECLARED)
        elif pages is not None and service.least_replicas != service.most_replicas:
            own = self._scaler.decided(
                service, serving(declared, seen), pages, held=held, scale=kept, now_s=now_s
            )
            self._decided = with_outside(
                own,
                self._outside.said(service.external_scale),
                kept=kept,
                least=service.least_replicas,
                most=service.most_replicas,
            )
        if self._decided is None:
            return kept
        after = self._changes.asked(
            _within(self._decided, service),
            kept,
            now_s,
            ready=_ready(seen),
            most=service.most_replicas,
        )
        begun = self._changes.current
        if after != kept and begun is not None:
            self._note(begun)
        return after

    @property
    def newest(self) -> Reading | None:
        """What all replicas together said last; None where they are not asked."""
        return self._scaler.newest

    @property
    def trouble(self) -> str | None:
        """Of an external scaler, which stops nothing."""
        return self._outside.trouble

    def close(self) -> None:
        """The controller ends."""
        self._outside.close()

    def look(
        self, wanted: Mapping[int, int], seen: Sequence[Seen], trouble: str | None, now_s: float
    ) -> None:
        """``wanted``: replicas by revision. A change is through when all of them answer, and none
        is left that is not wanted."""
        is_there = all(ready_of(revision, seen) == count for revision, count in wanted.items())
        is_there = is_there and len(seen) == sum(wanted.values())
        self._changes.look(is_there=is_there, ready=_ready(seen), trouble=trouble, now_s=now_s)

    def stop(self, seen: Sequence[Seen], now_s: float) -> None:
        """The deployment is deleted. Idempotent."""
        self._changes.stop("the deployment is deleted", ready=_ready(seen), now_s=now_s)

    def _note(self, begun: Before) -> None:
        """What people declare is in the ledger already."""
        if begun.cause is not Cause.DECLARED:
            detail = {"from": begun.from_replicas, "to": begun.to_replicas, "why": begun.why}
            self._deployments.note(self._name, "scaled", detail, actor=ACTOR)


def first_scale(service: ServiceSettings) -> int:
    """Before anything is known of its load."""
    return min(max(service.least_replicas, 1), service.most_replicas)


def _within(decision: Decision, service: ServiceSettings) -> Decision:
    """What was decided earlier may be held back, and other numbers declared since."""
    least, most = service.least_replicas, service.most_replicas
    if least <= decision.replicas <= most:
        return decision
    replicas = min(max(decision.replicas, least), most)
    return Decision(replicas, f"{least} to {most} declared", Cause.DECLARED)


def _ready(seen: Sequence[Seen]) -> int:
    return sum(each.state == "ready" for each in seen)
