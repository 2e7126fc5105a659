"""``/v2/`` of several workspaces: ``/v2/NAME/repository/...`` is ``/v2/repository/...`` of the
workspace NAME. Images of the default workspace need no prefix."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOVED = (b"location", b"link")


class Prefixed:
    """A registry that thinks it is at ``/v2/``; a path may have its prefix, or none."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._prefix = f"/v2/{name}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = str(scope["path"])
        if not path.startswith(self._prefix):
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
