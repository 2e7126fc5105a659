"""A route: what is asked, how, by whom, and the function that does it.

    Route("GET", "/models", "models.list", "reader", list_models)

    def list_models(call: Call, *, latest: bool = False) -> list[Model]: ...

The function's parameters after ``call`` are the request's arguments: those that the path names, and
the rest from the query (GET, HEAD, DELETE) or the JSON body. Its first line of documentation is the
route's, and its return type is the answer's; of a Page the items are, and a header says what to ask
for those that follow (links.py). One that is ``async`` reads the body itself
(``call.body``), or answers with a Response of its own, or both; its arguments come from the path
and the query."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from starlette.responses import Response

from registry.pages import Page
from runtime.workspace_service.roles import Role

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


@dataclass(frozen=True)
class Route:
    """``path`` is below the workspace, such as ``/models/{ref}``; ``{file:path}`` takes slashes,
    too. ``role`` is what one must at least be. ``is_audited`` is False for what only reads and for
    what is said many times a second.
    ``is_resumable``: it begins an activity, which keeps the arguments: none of them is secret."""

    method: Method
    path: str
    name: str
    role: Role
    function: Callable[..., Any]
    status: int = 200
    is_audited: bool | None = None
    is_resumable: bool = False

    @property
    def noun(self) -> str:
        """``models`` of ``models.list``."""
        return self.name.partition(".")[0]

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    @property
    def is_written_down(self) -> bool:
        """Whether the audit log has it."""
        return not self.is_reading if self.is_audited is None else self.is_audited

    @property
    def is_async(self) -> bool:
        """Whether the function reads the body itself."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    @cached_property
    def path_names(self) -> tuple[str, ...]:
        """The arguments that the path holds."""
        return tuple(match[1] for match in _PARAMETER.finditer(self.path))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the paths that it means, decoded."""
        parts, end = [], 0
        for match in _PARAMETER.finditer(self.path):
            parts.append(re.escape(self.path[end : match.start()]))
            parts.append(f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})")
            end = match.end()
        return re.compile("".join(parts) + re.escape(self.path[end:]), re.DOTALL)

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """The types of arguments, and of ``return``."""
        return get_type_hints(self.function, include_extras=True)

    @cached_property
    def arguments(self) -> type[msgspec.Struct]:
        """All arguments as one structure."""
        fields: list[Any] = []
        for name, parameter in list(inspect.signature(self.function).parameters.items())[1:]:
            if parameter.default is inspect.Parameter.empty:
                fields.append((name, self.hints[name]))
            else:
                fields.append((name, self.hints[name], parameter.default))
        title = "".join(part.capitalize() for part in re.split(r"[._]", self.name))
        return msgspec.defstruct(title, fields, kw_only=True, forbid_unknown_fields=True)

    @cached_property
    def is_paged(self) -> bool:
        """Whether it answers a page at a time."""
        return get_origin(self.hints.get("return")) is Page

    @cached_property
    def answer(self) -> Any:
        """The type of the answer; Response where it is no document."""
        found = self.hints.get("return", Response)
        return list[get_args(found)[0]] if self.is_paged else found  # type: ignore[misc]
