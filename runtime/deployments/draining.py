"""Whether a replica that gets nothing more has finished what it had. Pure."""

from __future__ import annotations

from runtime.balance.balancer import ServiceState
from runtime.deployments.leaving import Leaver

DRAIN_S = 30.0
"""For what it has begun; then it is told to end, and finishes by itself."""
QUIET_S = 1.0
"""For the balancer to have heard that it shall send nothing more."""


def is_idle(
    leaver: Leaver, balanced: ServiceState | None, now_s: float, *, is_withdrawn: bool
) -> bool:
    """``balanced``: as the balancer sees its deployment, None where it does not; ``is_withdrawn``:
    the balancer shall do nothing for it any more."""
    since_s = now_s - leaver.since_s
    if leaver.port is None or since_s >= DRAIN_S:
        return True
    if balanced is None:  # withdrawn, or the balancer is away: then the time decides
        return is_withdrawn and since_s > QUIET_S
    for version in balanced.versions:
        for each in version.replicas:
            if each.replica.place == (leaver.address, leaver.port):
                # It was told to send nothing more, and nothing is left.
                return each.server.admin != "ready" and each.in_flight == 0
    return since_s > QUIET_S  # it does not know the replica any more
