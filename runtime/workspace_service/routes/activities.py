"""Activities: what takes long, and what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from registry.activities import Activity
from registry.activities.events import Change
from registry.activities.origin import CommandOrigin, begun_by, resuming
from registry.errors import (
    ImmutableError,
    InvalidNameError,
    InvalidSourceError,
    NotFoundError,
)
from runtime.registry_service.call import in_thread
from runtime.workspace_service.call import Call
from runtime.workspace_service.events import Stream
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.hidden import log_without_hidden, without_hidden
from runtime.workspace_service.roles import allows
from runtime.workspace_service.route import Route

MAX_LIMIT = 1000
HEARTBEAT_S = 15.0
EVENT_STREAM = "text/event-stream"


def list_activities(
    call: Call, *, kind: str | None = None, running_only: bool = False, limit: int = 500
) -> list[Activity]:
    """List activities, the newest first."""
    if not 0 < limit <= MAX_LIMIT:
        raise InvalidNameError(f"a list has 1 to {MAX_LIMIT} activities, not {limit}")
    found = call.workspace.activities.list(kind=kind, running_only=running_only, limit=limit)
    return [_shown(call, each) for each in found]


def get(call: Call, *, ref: str) -> Activity:
    """Show an activity: its id, or as much of its beginning as says which."""
    return _shown(call, call.workspace.activities.get(ref))


def log(call: Call, *, ref: str, offset: int = 0) -> Response:
    """Give what an activity said, from byte ``offset`` on."""
    if offset < 0:
        raise InvalidNameError("offset is a number of bytes from 0 on")
    said = call.workspace.activities.log(ref, offset)
    return Response(log_without_hidden(said, call.site.hidden), media_type="text/plain")


def cancel(call: Call, *, ref: str) -> Activity:
    """Ask for the end of an activity; it ends at the next point where it can."""
    try:
        return _shown(call, call.workspace.activities.cancel(ref))
    except InvalidNameError:  # nothing can have that name
        raise NotFoundError("there is no such activity; see inferry activity list") from None


def resume(call: Call, *, ref: str) -> Activity:
    """Begin an activity that failed or was cancelled again, as a client began it: a new one."""
    try:
        found = call.workspace.activities.get(ref)
    except InvalidNameError:  # nothing can have that name
        raise NotFoundError("there is no such activity; see inferry activity list") from None
    origin = call.workspace.activities.origin(found.id)
    if isinstance(origin, CommandOrigin):
        raise ImmutableError(
            f"a command line on the machine of the workspace began activity {found.id}; there:"
            f" inferry activity resume {found.id}"
        )
    route = _resumable(origin.route)
    if route is None:
        raise ImmutableError(f"this service knows no '{origin.route}', which began it")
    if not allows(call.who.role, route.role):
        raise Fault(403, "forbidden", f"this takes a {route.role}")
    try:
        values = msgspec.structs.asdict(msgspec.convert(origin.arguments, route.arguments))
    except msgspec.ValidationError:
        raise ImmutableError(
            "an earlier version of the service began it; give the command again"
        ) from None
    try:
        with begun_by(origin), resuming(found.id):
            return _shown(call, route.function(call, **values))
    except InvalidSourceError as error:
        raise InvalidSourceError(f"{error}; give the command again, which uploads it") from error


def _resumable(name: str) -> Route | None:
    from runtime.workspace_service.routes import TABLE  # which has the routes of this file, too

    return next((each for each in TABLE.routes if each.is_resumable and each.name == name), None)


async def events(call: Call, *, id: str | None = None) -> Response:
    """Follow changes of activities, or of one, as server-sent events; Last-Event-ID resumes."""
    if EVENT_STREAM not in call.headers.get("accept", ""):
        raise Fault(406, "not_acceptable", f"this answers with {EVENT_STREAM}; say so in Accept")
    if call.method == "HEAD":
        return Response(media_type=EVENT_STREAM)
    held = ExitStack()
    following = call.site.events.following(
        call.workspace_name, call.headers.get("last-event-id", ""), asyncio.get_running_loop()
    )
    stream, before = await in_thread(held.enter_context, following)
    return _Following(held, _sent(call, stream, before, id))


class _Following(StreamingResponse):
    """Lets go of its stream however it ends."""

    def __init__(self, held: ExitStack, content: AsyncIterator[bytes]) -> None:
        super().__init__(content, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As of an ASGI application."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._held.close()


async def _sent(
    call: Call, stream: Stream, before: list[Change], id: str | None
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    for event in before:
        if id in (None, event.activity.id):
            yield _text(call, event)
    looked_s = time.monotonic()
    while not stream.is_cut:
        if time.monotonic() - looked_s >= HEARTBEAT_S:
            if not await in_thread(_is_still_known, call):
                return
            looked_s = time.monotonic()
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                found = await stream.get()
        except TimeoutError:
            yield b": still here\n\n"
            continue
        if found is None:
            return
        if id in (None, found.activity.id):
            yield _text(call, found)


def _is_still_known(call: Call) -> bool:
    """Whether the token is good: one may be revoked, or end, while its bearer follows."""
    from runtime.workspace_service.door import identify  # a client needs no door

    who = identify(call.site, call.workspace_name, call.headers)
    return who is not None and allows(who.role, "reader")


def _shown(call: Call, activity: Activity) -> Activity:
    return without_hidden(activity, call.site.hidden)


def _text(call: Call, change: Change) -> bytes:
    data = msgspec.json.encode(_shown(call, change.activity))
    return b"id: %d\nevent: activity\ndata: %s\n\n" % (change.cursor, data)


ROUTES = (
    Route("GET", "/activities", "activities.list", "reader", list_activities),
    Route("GET", "/activities/{ref}", "activities.get", "reader", get),
    Route("GET", "/activities/{ref}/log", "activities.log", "reader", log),
    Route("POST", "/activities/{ref}/cancel", "activities.cancel", "contributor", cancel),
    Route(
        "POST", "/activities/{ref}/resume", "activities.resume", "contributor", resume, status=202
    ),
    Route("GET", "/events", "activities.events", "reader", events),
)
