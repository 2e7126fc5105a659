"""What the registry knows of deployments: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from registry.deployments.settings import RevisionSettings, ServiceSettings

State = Literal["starting", "running", "updating", "degraded", "failed", "stopping", "unknown"]
ReplicaState = Literal["starting", "ready", "draining", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One image with its settings, as it was declared once. Never changes."""

    number: int
    image: str
    """``name:version``."""
    digest: str
    settings: RevisionSettings
    made_at: str
    made_by: str


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the traffic a revision gets. A shadow gets a copy of it, and its answers go to
    nobody."""

    revision: int
    percent: float
    is_shadow: bool = False


class Replica(msgspec.Struct, frozen=True, omit_defaults=True):
    """One server, as it was seen. ``log``: its last lines, where something is wrong."""

    id: str
    revision: int
    state: ReplicaState
    address: str = ""
    cause: str = ""
    log: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the controller saw at ``seen_at``, having read the declaration ``change``. ``memory``:
    what the next controller needs to go on, its own affair."""

    state: State
    cause: str | None
    url: str | None
    change: int
    replicas: tuple[Replica, ...]
    seen_at: str
    memory: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is declared, and what was seen of it last.

    ``goal``: the revision that shall get all the traffic, at once or by a rollout; ``traffic``:
    what gets it now; ``change`` grows with each change of the declaration."""

    name: str
    target: str
    service: ServiceSettings
    goal: int
    is_wanted: bool
    change: int
    created_at: str
    revisions: tuple[Revision, ...]
    traffic: tuple[Share, ...]
    secrets: tuple[str, ...]
    observed: Observed | None

    def revision(self, number: int) -> Revision:
        """Of this number; KeyError where there is none."""
        for each in self.revisions:
            if each.number == number:
                return each
        raise KeyError(number)
