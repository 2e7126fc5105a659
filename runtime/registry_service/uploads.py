"""Uploads over HTTP: at once, in chunks, resumed, mounted."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response

from registry.distribution import Code, DistributionError
from registry.distribution.errors import UploadBusyError, UploadRangeError
from registry.distribution.grammar import (
    ChunkRange,
    check_digest,
    is_repository,
    parse_chunk_range,
)
from registry.distribution.uploads import Session
from runtime.registry_service.call import Call, in_thread
from runtime.registry_service.paths import blob_path, upload_path
from runtime.registry_service.refusals import refusal

BUSY_TURNS = 10
BUSY_TURN_S = 0.05


async def begin(call: Call) -> Response:
    """POST /v2/<name>/blobs/uploads/."""
    uploads = call.distribution.uploads
    if "digest" in call.query:
        digest = check_digest(call.query["digest"])
        return await _at_once(call, await in_thread(uploads.begin, call.repository), digest)
    if await _mounted(call):
        return _created(call, check_digest(call.query["mount"]))
    upload = await in_thread(uploads.begin, call.repository)
    return Response(status_code=202, headers=_state(call, upload, 0))


async def proceed(call: Call) -> Response:
    """GET, PATCH, PUT and DELETE /v2/<name>/blobs/uploads/<id>."""
    repository, upload = call.repository, call.route.reference
    uploads = call.distribution.uploads
    if call.method in ("GET", "HEAD"):
        offset = await in_thread(uploads.offset, repository, upload)
        return Response(status_code=204, headers=_state(call, upload, offset))
    if call.method == "DELETE":
        await in_thread(uploads.cancel, repository, upload)
        return Response(status_code=204)
    digest = check_digest(call.query.get("digest", "")) if call.method == "PUT" else None
    session = await _opened(call, upload)
    try:
        await _receive(call, session)
        if digest is not None:
            await in_thread(session.finish, digest)
            return _created(call, digest)
        return Response(status_code=202, headers=_state(call, upload, session.offset))
    except UploadRangeError as error:
        refused = refusal(error)
        refused.headers.update(_state(call, upload, error.offset))
        return refused
    finally:
        session.close()


async def _opened(call: Call, upload: str) -> Session:
    """A client that resumes after a cut may be faster than we notice the cut: wait a little for the
    request before it."""
    for _ in range(BUSY_TURNS):
        with suppress(UploadBusyError):
            return await in_thread(call.distribution.uploads.open, call.repository, upload)
        await asyncio.sleep(BUSY_TURN_S)
    return await in_thread(call.distribution.uploads.open, call.repository, upload)


async def _at_once(call: Call, upload: str, digest: str) -> Response:
    """Nobody knows this upload's id: it cannot be resumed, so nothing of it stays on a failure."""
    session = await in_thread(call.distribution.uploads.open, call.repository, upload)
    try:
        await _receive(call, session)
        await in_thread(session.finish, digest)
        return _created(call, digest)
    finally:
        await in_thread(session.discard)


async def _mounted(call: Call) -> bool:
    digest, source = call.query.get("mount"), call.query.get("from")
    if digest is None:
        return False
    check_digest(digest)
    if source is None or not is_repository(source):
        return False
    return await in_thread(call.distribution.blobs.mount, call.repository, digest, source)


async def _receive(call: Call, session: Session) -> None:
    """Append the body. What comes before a cut stays, and can be resumed."""
    expected = _announced(call)
    if expected is not None:
        session.check_start(expected.first)
    end = None if expected is None else session.offset + expected.size
    async for piece in call.body.pieces():
        if end is not None and session.offset + len(piece) > end:
            session.take_back()
            raise _wrong_size()
        await in_thread(session.write, piece)
    if end is not None and session.offset != end:
        session.take_back()
        raise _wrong_size()


def _announced(call: Call) -> ChunkRange | None:
    text = call.headers.get("content-range")
    if text is None:
        return None
    announced = parse_chunk_range(text)
    if call.body.size is not None and call.body.size != announced.size:
        raise _wrong_size()
    return announced


def _wrong_size() -> DistributionError:
    return DistributionError(
        Code.SIZE_INVALID, "the chunk has another size than its Content-Range says"
    )


def _state(call: Call, upload: str, offset: int) -> dict[str, str]:
    return {
        "Location": upload_path(call.repository, upload),
        "Range": f"0-{max(offset - 1, 0)}",
        "Docker-Upload-UUID": upload,
    }


def _created(call: Call, digest: str) -> Response:
    headers = {"Location": blob_path(call.repository, digest), "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=headers)
