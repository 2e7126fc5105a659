"""One request as the routes see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from registry.distribution import Distribution
from registry.distribution.grammar import check_repository
from runtime.registry_service.damage import DamageWatch
from runtime.registry_service.paths import Route
from runtime.registry_service.request_body import RequestBody

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """``headers`` have lower-case names; ``query`` has each parameter's last value."""

    distribution: Distribution
    damage: DamageWatch
    method: str
    route: Route
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: RequestBody

    @property
    def repository(self) -> str:
        """Checked. Raises NAME_INVALID."""
        return check_repository(self.route.repository)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What looks at the disk or the database waits beside the loop."""
    return await asyncio.to_thread(function, *args, **kwargs)
