"""All routes of ``/api/v1``, and which of them a path means. Pure.

A path is ``/api/v1`` + the route's for what is about the service, and
``/api/v1/workspaces/NAME`` + the route's for what is about a workspace."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from runtime.workspace_service.faults import Fault
from runtime.workspace_service.route import Route

API = "/api/v1"
_WORKSPACE = re.compile(API + r"/workspaces/([^/]+)(/.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Match:
    """What a request means. ``workspace`` is empty for what is about the service."""

    route: Route
    workspace: str
    arguments: Mapping[str, str]


class Table:
    """``of_service`` and ``of_workspace`` are routes."""

    def __init__(self, of_service: Sequence[Route], of_workspace: Sequence[Route]) -> None:
        self.of_service = tuple(of_service)
        self.of_workspace = tuple(of_workspace)
        names = [route.name for route in self.routes]
        assert len(names) == len(set(names)), "two routes of one name"

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of them."""
        return self.of_service + self.of_workspace

    def template(self, route: Route) -> str:
        """The whole path, with its arguments in braces."""
        if route in self.of_workspace:
            return f"{API}/workspaces/{{workspace}}{route.path}"
        return API + route.path

    def match(self, method: str, path: str) -> Match:
        """The route that is meant. ``path`` is decoded once. Raises Fault 404 and 405."""
        workspace, routes = "", self.of_service
        rest = path.removeprefix(API) if path.startswith(f"{API}/") else ""
        if (found := _WORKSPACE.fullmatch(path)) is not None:
            workspace, routes, rest = found[1], self.of_workspace, found[2] or ""
        allowed = []
        for route in routes:
            if (match := route.pattern.fullmatch(rest)) is not None:
                if route.method == ("GET" if method == "HEAD" else method):
                    return Match(route, workspace, match.groupdict())
                allowed.append(route.method)
        if allowed:
            headers = {
                "Allow": ", ".join(sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])}))
            }
            raise Fault(405, "no_such_method", "the method makes no sense here", headers)
        raise Fault(404, "not_found", "there is no such path; see /openapi.json")


def path_of(route: Route, arguments: Mapping[str, object]) -> str:
    """The route's path below the workspace, with these arguments in it, quoted."""
    path = route.path
    for name in route.path_names:
        is_deep = "{" + name + ":path}" in path
        text = "/".join(
            map(_quoted, str(arguments[name]).split("/") if is_deep else [arguments[name]])
        )
        path = path.replace("{" + name + (":path" if is_deep else "") + "}", text)
    return path


def _quoted(part: object) -> str:
    """Clients resolve dots of their own accord."""
    text = quote(str(part), safe="")
    return text.replace(".", "%2e") if text in (".", "..") else text
