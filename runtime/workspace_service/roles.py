"""Who may do what. Pure.

puller        pulls images, as devices do, and nothing else
reader        sees everything but secrets
contributor   also makes, changes and deletes models, images, runs, deployments and the like
owner         also says who may come in, and what the workspace takes
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.distribution.tokens import ROLES, Role

__all__ = ["ROLES", "Role", "Who", "allows"]


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: the name of a token, and what it may do."""

    name: str
    role: Role


def allows(role: Role, needed: Role) -> bool:
    """Whether someone of ``role`` may do what needs ``needed``."""
    return ROLES.index(role) >= ROLES.index(needed)
