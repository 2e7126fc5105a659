"""Someone with a browser: keeps cookies, and fills in forms as the pages have them."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from runtime.portal.app import PortalApp
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.site import Site
from tests.runtime.workspace_service.asked import ask

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Visitor:
    """One browser."""

    def __init__(self, app: PortalApp, base: str = "/ui/w/default") -> None:
        self.app = app
        self.base = base
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    def get(self, path: str, **options: Any) -> httpx.Response:
        """A page; ``path`` is below the workspace unless it begins with /ui."""
        return self._ask("GET", path, **options)

    def post(
        self, path: str, fields: dict[str, Any] | None = None, **options: Any
    ) -> httpx.Response:
        """A form, with what the last page gave for it."""
        form = {"csrf": self.csrf, **(fields or {})}
        return self._ask("POST", path, data=form, **options)

    def sign_in(self, token: str) -> httpx.Response:
        """Through the form. The session is a new one then, and so is what its forms need."""
        self.get("/ui/sign-in")
        answer = self.post("/ui/sign-in", {"token": token})
        self.get("/ui/sign-in")
        return answer

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        whole = path if path == "/" or path.startswith("/ui") else self.base + path
        headers = {"cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        headers |= options.pop("headers", {})
        response = ask(self.app, method, whole, headers=headers, **options)
        for name, value in response.cookies.items():
            self.cookies[name] = value
        if (found := _CSRF.search(response.text)) is not None:
            self.csrf = unescape(found[1])
        return response


def portal(root: Path, *, config: ServiceConfig | None = None) -> PortalApp:
    """Of one workspace that is called default."""
    return PortalApp(Site({"default": root}), config or ServiceConfig())
