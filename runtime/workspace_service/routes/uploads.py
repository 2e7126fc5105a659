"""Files on their way to the workspace. A client never names a file of the service: it sends bytes,
which are known by their digest from then on, and says what they are a file of."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from registry.distribution.errors import UploadBusyError
from registry.distribution.incoming import Incoming
from registry.distribution.uploads import Session
from runtime.registry_service.call import in_thread
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.receiving import Advance, check_wanted, receiving, subject_of
from runtime.workspace_service.route import Route
from runtime.workspace_service.sent_file import SentFile

__all__ = ["ROUTES", "SentFile", "UploadState", "incoming_of"]

BUSY_S = 5.0
"""A client that goes on after a cut may be faster than we notice the cut."""
BUSY_TURN_S = 0.05


@dataclass(frozen=True, slots=True)
class UploadState:
    """``offset`` bytes came; ``is_whole``: all of them, and they are kept for a while."""

    digest: str
    offset: int
    is_whole: bool


def find(call: Call, *, digests: tuple[str, ...]) -> list[str]:
    """Say which of these files need not be uploaded."""
    return incoming_of(call).known(call.actor, digests)


def get(call: Call, *, digest: str) -> UploadState:
    """Say how much of a file came."""
    check_wanted(call, digest)
    incoming = incoming_of(call)
    is_whole = bool(incoming.known(call.actor, [digest]))
    return UploadState(digest, incoming.offset(call.actor, digest), is_whole)


async def put(call: Call, *, digest: str, size: int, offset: int = 0) -> UploadState:
    """Upload a file of ``size`` bytes, from ``offset`` on, which is where it was cut before."""
    if size < 0:
        raise Fault(400, "bad_value", "a file has no negative size")
    session = await _opened(call, digest, size)
    try:
        if offset != session.offset:
            raise Fault(
                416, "bad_range", f"{session.offset} bytes came; go on from there, not {offset}"
            )
        async with receiving(call, subject_of(call, digest), size, offset) as advance:
            async for piece in call.body.pieces():
                if session.offset + len(piece) > size:
                    session.take_back()
                    raise Fault(400, "bad_value", "there are more bytes than the size says")
                await in_thread(_write, session, piece, advance)
            if session.offset < size:
                return UploadState(digest, session.offset, False)
            await in_thread(session.finish, digest)
            return UploadState(digest, size, True)
    finally:
        session.close()


def _write(session: Session, piece: bytes, advance: Advance) -> None:
    session.write(piece)
    advance(len(piece))


def incoming_of(call: Call) -> Incoming:
    """What came to the workspace."""
    return call.site.distributions[call.workspace_name].incoming


async def _opened(call: Call, digest: str, size: int) -> Session:
    end = time.monotonic() + BUSY_S
    while True:
        try:
            return await in_thread(incoming_of(call).open, call.actor, digest, size)
        except UploadBusyError:
            if time.monotonic() > end:
                raise Fault(409, "busy", "another request uploads this file") from None
        await asyncio.sleep(BUSY_TURN_S)


ROUTES = (
    Route("POST", "/uploads", "uploads.find", "contributor", find, is_audited=False),
    Route("GET", "/uploads/{digest}", "uploads.get", "contributor", get),
    Route("PUT", "/uploads/{digest}", "uploads.put", "contributor", put, is_audited=False),
)
