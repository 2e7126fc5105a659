"""Tokens: who may come in. For owners."""

from __future__ import annotations

import math
from dataclasses import dataclass

from registry.distribution.tokens import Token
from registry.errors import InvalidNameError
from registry.pages import MAX_LIMIT, Page
from runtime.workspace_service.call import Call
from runtime.workspace_service.roles import Role
from runtime.workspace_service.route import Route


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token, with its secret this once."""

    name: str
    role: Role
    token: str


def list_tokens(call: Call, *, limit: int = MAX_LIMIT, token: str | None = None) -> Page[Token]:
    """List tokens, without their secrets, a page at a time."""
    return call.site.distributions[call.workspace_name].tokens.page(limit=limit, token=token)


def create(
    call: Call, *, name: str, role: Role = "reader", lifetime_s: float | None = None
) -> NewToken:
    """Make a token; its secret is shown this once."""
    if lifetime_s is not None and not (math.isfinite(lifetime_s) and lifetime_s > 0):
        raise InvalidNameError("lifetime_s must be a number of seconds above 0")
    secret = call.site.distributions[call.workspace_name].tokens.create(name, role, lifetime_s)
    return NewToken(name, role, secret)


def revoke(call: Call, *, name: str) -> None:
    """Make a token useless, at once."""
    call.site.distributions[call.workspace_name].tokens.revoke(name)


ROUTES = (
    Route("GET", "/tokens", "tokens.list", "owner", list_tokens),
    Route("POST", "/tokens", "tokens.create", "owner", create, status=201),
    Route("DELETE", "/tokens/{name}", "tokens.revoke", "owner", revoke),
)
