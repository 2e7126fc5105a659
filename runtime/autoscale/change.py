"""A change of scale as hooks, logs and metrics are told of it: before it begins, and when it is
through. Data only; who runs webhooks and commands is elsewhere.

Wall-clock times are handed in: they are for people. How long it took is measured by a monotonic
clock, as the wall's may jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from runtime.autoscale.decision import Cause, Decision

VERSION = 1
LONGEST_TEXT = 1000


class Outcome(Enum):
    """REPLACED: another decision came before it was through."""

    DONE = "done"
    FAILED = "failed"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A change that is about to begin. ``change``: the same in what is told of it afterwards."""

    change: str
    deployment: str
    at_unix_s: float
    from_replicas: int
    to_replicas: int
    cause: Cause
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """How it went. ``ready_replicas``: those that could answer then; ``error``: one line, where it
    failed."""

    change: str
    deployment: str
    at_unix_s: float
    from_replicas: int
    to_replicas: int
    cause: Cause
    why: str
    outcome: Outcome
    ready_replicas: int
    took_s: float
    error: str | None = None


Change = Before | After
Value = str | int | float | None


def before(
    decision: Decision, *, change: str, deployment: str, at_unix_s: float, from_replicas: int
) -> Before | None:
    """None where the decision changes nothing: then no hook runs."""
    if decision.replicas == from_replicas:
        return None
    return Before(
        change=change,
        deployment=deployment,
        at_unix_s=at_unix_s,
        from_replicas=from_replicas,
        to_replicas=decision.replicas,
        cause=decision.cause,
        why=decision.why,
    )


def after(
    begun: Before,
    outcome: Outcome,
    *,
    at_unix_s: float,
    ready_replicas: int,
    took_s: float,
    error: str | None = None,
) -> After:
    """What is told when the change that ``begun`` announced has come to its end."""
    return After(
        change=begun.change,
        deployment=begun.deployment,
        at_unix_s=at_unix_s,
        from_replicas=begun.from_replicas,
        to_replicas=begun.to_replicas,
        cause=begun.cause,
        why=begun.why,
        outcome=outcome,
        ready_replicas=ready_replicas,
        took_s=max(0.0, took_s),
        error=error,
    )


def document(change: Change) -> dict[str, Value]:
    """What a webhook is sent, as JSON. Later versions only add."""
    found: dict[str, Value] = {
        "v": VERSION,
        "moment": "before" if isinstance(change, Before) else "after",
        "change": change.change,
        "deployment": change.deployment,
        "at_unix_s": change.at_unix_s,
        "from_replicas": change.from_replicas,
        "to_replicas": change.to_replicas,
        "cause": change.cause.value,
        "why": change.why[:LONGEST_TEXT],
    }
    if isinstance(change, After):
        error = change.error[:LONGEST_TEXT] if change.error is not None else None
        found |= {
            "outcome": change.outcome.value,
            "ready_replicas": change.ready_replicas,
            "took_s": change.took_s,
            "error": error,
        }
    return found


def environment(change: Change) -> dict[str, str]:
    """What a command finds in its environment: INFERRY_SCALE_TO_REPLICAS=4 and so on. Control
    characters become spaces, so that no value can be two lines or end early; what is None is left
    out."""
    return {
        f"INFERRY_SCALE_{name.upper()}": _line(str(value))
        for name, value in document(change).items()
        if value is not None
    }


def _line(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)
