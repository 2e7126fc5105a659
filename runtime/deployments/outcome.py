"""How a declaration of a deployment came out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from registry.deployments import Deployment


@dataclass(frozen=True, slots=True)
class Outcome:
    """``failure``: why it will not be as declared; None where it is."""

    failure: str | None = None


def outcome(found: Deployment, change: int) -> Outcome | None:
    """How the declaration ``change`` came out; None while that is open."""
    observed = found.observed
    if observed is None or observed.change < change:
        return None
    if observed.state == "failed":
        return Outcome(observed.cause or "it failed")
    if observed.state != "running":
        return None
    live = [share.revision for share in found.traffic if not share.is_shadow]
    if live == [found.goal]:
        return Outcome()
    taken_back = f"revision {found.goal} was taken back"
    if observed.cause is not None and observed.cause.startswith(taken_back):
        return Outcome(observed.cause)
    return None
