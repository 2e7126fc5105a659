"""Which run a process belongs to: what starts a script as a run says so in its environment.

INFERRY_RUN         the run's id
INFERRY_WORKSPACE   the workspace's folder
INFERRY_JOURNAL     a folder for what the run says, where whoever started it reads that (journal.py)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

RUN = "INFERRY_RUN"
WORKSPACE = "INFERRY_WORKSPACE"
JOURNAL = "INFERRY_JOURNAL"


@dataclass(frozen=True, slots=True)
class Context:
    """What the environment says; None where it says nothing."""

    run: str | None
    workspace: str | None
    journal: str | None = None


def context(environment: Mapping[str, str] = os.environ) -> Context:
    """Of this process."""
    found = (environment.get(name) or None for name in (RUN, WORKSPACE, JOURNAL))
    return Context(*found)


def for_child(run: str, workspace: str) -> dict[str, str]:
    """What the environment of a process has that belongs to this run."""
    return {RUN: run, WORKSPACE: workspace}
