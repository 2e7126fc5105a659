"""What every route has at hand: the workspace, its tracker, and who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry import Workspace
from registry.tracking import Tracking
from runtime.mlflow_service.limits import Limits


@dataclass(frozen=True, slots=True)
class Desk:
    """Of one request. ``who`` is "" where nobody needs a token; ``arguments`` are those of its
    path."""

    workspace: Workspace
    tracking: Tracking
    limits: Limits
    who: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
