"""A place of the portal: what is asked, who may, and the function that answers.

    Place("GET", "models", "reader", list_models)

Its path is that of its name (paths.py)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from runtime.portal.answers import Answer
from runtime.portal.ask import Ask
from runtime.portal.paths import SERVICE, pattern_of
from runtime.workspace_service.roles import Role


@dataclass(frozen=True)
class Place:
    """``role``: what one must at least be; None: anybody may. ``is_live``: the function makes a
    part of a page, again and again, which is sent when it has changed."""

    method: Literal["GET", "POST"]
    name: str
    role: Role | None
    function: Callable[[Ask], Answer]
    is_live: bool = False

    @property
    def is_of_service(self) -> bool:
        """Whether it is about no workspace."""
        return self.name in SERVICE

    @property
    def is_written_down(self) -> bool:
        """Whether the audit log has it: every form of somebody who is known."""
        return self.method == "POST" and self.role is not None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the paths that it means, decoded."""
        return pattern_of(self.name)
