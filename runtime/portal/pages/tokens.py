"""Tokens, for owners: who may come in."""

from __future__ import annotations

import math

from registry.distribution.tokens import ROLES, Role, Tokens
from registry.errors import InvalidNameError
from runtime.portal.answers import Answer, Commands, Go, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place
from runtime.portal.sessions import is_live

DAY_S = 86_400.0


def tokens(ask: Ask) -> Answer:
    """All that were ever made."""
    return _page(ask, None)


def create(ask: Ask) -> Answer:
    """A new one; its secret is shown this once."""
    role = next((each for each in ROLES if each == ask.text("role", limit=20)), None)
    if role is None:
        raise InvalidNameError(f"a token needs a role: {', '.join(ROLES)}")
    name = ask.text("name", limit=500).strip()
    days = ask.text("days", limit=20).strip()
    secret = _tokens(ask).create(name, role, _lifetime_s(days))
    return _page(ask, (name, role, secret))


def revoke(ask: Ask) -> Answer:
    """It opens nothing from now on."""
    _tokens(ask).revoke(ask.text("name", limit=500))
    return Go(url("tokens", workspace=ask.workspace_name), "revoked")


def _page(ask: Ask, made: tuple[str, Role, str] | None) -> Page:
    found = _tokens(ask).list()
    return Page(
        "tokens.html",
        "Tokens",
        {
            "tokens": [(token, is_live(token, ask.now_s)) for token in reversed(found)],
            "made": made,
            "roles": ROLES,
            "is_open": not found,
        },
        section="tokens",
        commands=Commands("inferry registry token list"),
    )


def _tokens(ask: Ask) -> Tokens:
    return ask.site.distributions[ask.workspace_name].tokens


def _lifetime_s(days: str) -> float | None:
    if not days:
        return None
    try:
        number = float(days)
    except ValueError:
        number = math.nan
    if not 0 < number <= 36_500:
        raise InvalidNameError("the days that a token lasts must be a number above 0")
    return number * DAY_S


PLACES = (
    Place("GET", "tokens", "owner", tokens),
    Place("POST", "tokens.create", "owner", create),
    Place("POST", "tokens.revoke", "owner", revoke),
)
