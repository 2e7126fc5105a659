"""One request as the function of a place sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import parse_qsl

from runtime.portal.sessions import Session
from runtime.registry_service.request_body import RequestBody
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.roles import Role, Who, allows
from runtime.workspace_service.site import Site

if TYPE_CHECKING:
    from registry import Workspace
    from runtime.portal.live_figures import LiveFigures

MAX_FIELDS = 200
MAX_TEXT_CHARS = 20_000
Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Ask:
    """``arguments`` are those of the path; ``query`` and ``form`` have all values of a name."""

    site: Site
    workspace_name: str
    who: Who | None
    session: Session
    arguments: Mapping[str, str]
    query: Fields = field(default_factory=dict)
    form: Fields = field(default_factory=dict)
    path: str = ""
    address: str = ""
    """Path and query, for a way back."""
    figures: LiveFigures | None = None
    workspaces: Mapping[str, Workspace] = field(default_factory=dict)
    """Those of the portal, which keep their connections to the database."""
    now_s: float = field(default_factory=time.time)

    @property
    def workspace(self) -> Workspace:
        """The one that is asked."""
        found = self.workspaces.get(self.workspace_name)
        return self.site.workspace(self.workspace_name) if found is None else found

    @property
    def actor(self) -> str:
        """Who is written down beside a change."""
        return "-" if self.who is None else self.who.name

    def call(self) -> Call:
        """The same for a route of the service, which a form asks in its own way."""
        return Call(
            self.site,
            self.workspace_name,
            self.who or Who("-", "reader"),
            client="portal",
            method="POST",
            path=self.path,
            headers={},
            body=RequestBody(_nothing, size=0, is_awaited=False),
        )

    def may(self, role: Role) -> bool:
        """Whether they may do what takes such a role."""
        return self.who is not None and allows(self.who.role, role)

    def text(self, name: str, default: str = "", *, limit: int = MAX_TEXT_CHARS) -> str:
        """One value of the form, or where there is none of the query. Raises Fault 400 for one
        that is too long."""
        values = (self.form or self.query).get(name) or [default]
        if len(values[0]) > limit:
            raise Fault(400, "bad_value", f"{name} is longer than {limit} characters")
        return values[0]

    def many(self, name: str, limit: int) -> list[str]:
        """All different values that the query has of a name, at most ``limit``."""
        found = dict.fromkeys(self.query.get(name, ()))
        return [value[:MAX_TEXT_CHARS] for value in found if value][:limit]

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number of the query, within bounds; what is none is the default."""
        text = self.text(name, "", limit=100)
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            return default
        return max(least, min(int(text), most))


async def _nothing() -> NoReturn:
    raise AssertionError("there is no more of a body that was read")


def fields_of(text: bytes) -> Fields:
    """Of a query or a form. Raises Fault 400."""
    try:
        pairs = parse_qsl(
            text.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
        )
    except ValueError:
        raise Fault(400, "bad_value", "what was sent cannot be read") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
