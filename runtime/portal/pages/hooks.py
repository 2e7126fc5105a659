"""Webhooks that are told how activities go, for owners: a URL may hold a secret."""

from __future__ import annotations

from registry.activities.hooks import ENDED, ActivityHook
from registry.errors import InvalidNameError
from runtime.portal.answers import Answer, Commands, Go, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.workspace_service.routes import activity_hooks as routes

WHEN = {
    "ended": ("when one has ended", ENDED),
    "failed": ("when one fails", ("failed",)),
    "all": ("when one begins or ends", ("running", *ENDED)),
}


def hooks(ask: Ask) -> Answer:
    """All of them."""
    return _page(ask, None)


def add(ask: Ask) -> Answer:
    """A new one; what signs is shown this once."""
    when = WHEN.get(ask.text("when", limit=20))
    if when is None:
        raise InvalidNameError("choose when the webhook is told")
    kinds = tuple(ask.text("kinds", limit=2000).replace(",", " ").split())
    made = routes.add(
        ask.call(), url=ask.text("url", limit=4000).strip(), kinds=kinds, states=when[1]
    )
    return _page(ask, (made.hook, made.secret))


def delete(ask: Ask) -> Answer:
    """One, with what it has not been told yet."""
    id = ask.text("id", limit=100)
    if not (id.isascii() and id.isdigit() and len(id) < 19):
        raise InvalidNameError("a webhook has a number")
    routes.delete(ask.call(), id=int(id))
    return Go(url("hooks", workspace=ask.workspace_name), "hook-deleted")


def _page(ask: Ask, made: tuple[ActivityHook, str] | None) -> Page:
    return Page(
        "hooks.html",
        "Webhooks",
        {"hooks": routes.list_hooks(ask.call()), "made": made, "when": WHEN},
        section="activities",
        trail=(("Activities", url("activities", workspace=ask.workspace_name)),),
        commands=Commands("inferry activity hook list"),
    )


PLACES = (
    Place("GET", "hooks", "owner", hooks),
    Place("POST", "hooks.add", "owner", add),
    Place("POST", "hooks.delete", "owner", delete),
)
