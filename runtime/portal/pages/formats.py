"""Which files models may have: seen by all, changed by owners."""

from __future__ import annotations

from registry.errors import InvalidNameError
from runtime.portal.answers import Answer, Commands, Go, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place


def formats(ask: Ask) -> Answer:
    """What is decided for models that are registered from now on."""
    return Page(
        "formats.html",
        "Formats",
        {"policy": ask.workspace.settings.formats},
        section="models",
        trail=(("Models", url("models", workspace=ask.workspace_name)),),
        commands=Commands("inferry registry formats", "Workspace.open(folder).settings.formats"),
    )


def set_one(ask: Ask) -> Answer:
    """Allow or refuse one kind; the other stays as it is."""
    kind, is_allowed = decided(ask.text("kind", limit=100), ask.text("decision", limit=100))
    ask.workspace.settings.change_formats(**{kind: is_allowed})
    return Go(url("formats", workspace=ask.workspace_name), "formats")


def decided(kind: str, decision: str) -> tuple[str, bool]:
    """Pure: which kind, and whether it is allowed. What a form leaves out allows nothing: raises
    InvalidNameError."""
    if decision not in ("allow", "refuse"):
        raise InvalidNameError("a kind of files is to be allowed or refused")
    if kind not in ("pickle", "unknown"):
        raise InvalidNameError("the kinds of files are pickle and unknown")
    return kind, decision == "allow"


PLACES = (
    Place("GET", "formats", "reader", formats),
    Place("POST", "formats.set", "owner", set_one),
)
