"""Where things run: targets, and the way to devices and rollouts."""

from __future__ import annotations

from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.pages.devices import database_of
from runtime.portal.place import Place


def compute(ask: Ask) -> Answer:
    """The targets."""
    return Page(
        "compute.html",
        "Compute",
        {
            "targets": ask.workspace.targets.list(),
            "has_hub": database_of(ask) is not None,
        },
        section="compute",
        commands=Commands("inferry target list", "Workspace.open(folder).targets.list()"),
    )


PLACES = (Place("GET", "compute", "reader", compute),)
