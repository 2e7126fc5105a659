"""What a deployment on devices says to the hub: its module, its layer, how a rollout goes. Pure.

A deployment WEB is the module WEB in the layer deployment.WEB.
"""

from __future__ import annotations

import msgspec

from edge.hub.rollout_policy import Policy
from edge.layering import Layer, canonical_module
from edge.messages.desired import Module, Probe, Update
from registry.deployments import Deployment, Revision, Rollout, Target
from runtime.deployments.instances import instance_of

LEAST_PERCENT = 0.001
DAY_S = 86_400.0


def layer_name(deployment: str) -> str:
    """In the hub."""
    return f"deployment.{deployment}"


def layer_of(deployment: str, target: Target, before: Layer | None) -> Layer:
    """The layer for the devices of the target; its modules are the rollouts' to change."""
    kept = before or Layer(layer_name(deployment))
    return msgspec.structs.replace(kept, condition=target.settings["condition"])


def module_of(deployment: str, revision: Revision, target: Target) -> Module:
    """What devices run of a revision."""
    asked, where, health = instance_of(revision), target.settings, revision.settings.health
    found = Module(
        deployment,
        revision.image,
        revision.digest,
        port=int(where["port"]) if "port" in where else None,
        env=dict(asked.env),
        args=tuple(asked.args),
        limits=asked.limits,
        probe=Probe(
            interval_s=min(max(health.interval_s, 0.1), DAY_S),
            failures=health.failures,
            start_s=min(health.start_s, DAY_S),
        ),
        update=Update(start_s=min(max(health.start_s, 1.0), DAY_S)),
    )
    if "address" in where:
        found = msgspec.structs.replace(found, address=where["address"])
    return canonical_module(found)


def policy_of(rollout: Rollout) -> Policy:
    """Shares of the traffic are shares of the devices. Those that are offline get the new version
    when the others are through."""
    return Policy(
        batches=(*(f"{max(each, LEAST_PERCENT):.3f}%" for each in rollout.steps[:-1]), "100%"),
        success_percent=max(LEAST_PERCENT, 100.0 * (1.0 - rollout.max_error_share)),
        abort_percent=max(LEAST_PERCENT, 100.0 * rollout.max_error_share),
        soak_s=rollout.step_s,
        skip_offline=True,
    )


def revision_running(declared: Deployment, digest: str | None) -> int:
    """The number of the revision that has this digest, the goal first, then the newest; 0: none."""
    newest = sorted(
        declared.revisions, key=lambda each: (each.number != declared.goal, -each.number)
    )
    return next((each.number for each in newest if each.digest == digest), 0)
