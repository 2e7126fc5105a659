"""``/v2/`` of several workspaces: ``/v2/NAME/repository/...`` is ``/v2/repository/...`` of the
workspace NAME. Images of the default workspace need no prefix, not even one that is called as
another workspace is: ``/v2/NAME/manifests/1`` names no repository of NAME."""

from __future__ import annotations

from collections.abc import Container

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.registry_service.paths import parse_path

_MOVED = (b"location", b"link")


def workspace_of(path: str, names: Container[str]) -> str | None:
    """The workspace that a path below ``/v2/`` begins with: one of ``names``, where what follows
    its name means something by itself. None: the default one's. Pure."""
    name, slash, rest = path.removeprefix("/v2/").partition("/")
    is_prefix = slash and name in names and parse_path(f"/v2/{rest}") is not None
    return name if is_prefix else None


class Prefixed:
    """A registry that thinks it is at ``/v2/``; a path may have its prefix, or none."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name
        self._prefix = f"/v2/{name}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = str(scope["path"])
        if workspace_of(path, (self._name,)) is None:
            await self._app(scope, receive, send)
            return
        prefix = self._prefix.encode()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value.replace(b"/v2/", prefix, 1) if name in _MOVED else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        inner = {**scope, "path": "/v2/" + path.removeprefix(self._prefix)}
        await self._app(inner, receive, sending)
