"""What a workspace declares to run: targets, deployments, their revisions, secrets and keys, and
the ledger of all that changed. runtime/ makes it so; here is what is wanted, and what was seen.

    workspace.deployments.create("digits", "digits:1", target="local", actor="ada")
    workspace.deployments.update("digits", image="digits:2", actor="ada")
    workspace.deployments.live_at("digits", "2026-11-27T12:00:00Z")
"""

from registry.deployments.deployments import Deployments
from registry.deployments.hooks import Hooks
from registry.deployments.ledger import Entry, Live
from registry.deployments.records import Deployment, Observed, Replica, Revision, Share
from registry.deployments.settings import (
    Autoscale,
    Health,
    Resources,
    RevisionSettings,
    Rollout,
    ServiceSettings,
)
from registry.deployments.targets import Target, Targets

__all__ = [
    "Autoscale",
    "Deployment",
    "Deployments",
    "Entry",
    "Health",
    "Hooks",
    "Live",
    "Observed",
    "Replica",
    "Resources",
    "Revision",
    "RevisionSettings",
    "Rollout",
    "ServiceSettings",
    "Share",
    "Target",
    "Targets",
]
