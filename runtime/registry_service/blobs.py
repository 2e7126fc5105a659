"""Blobs over HTTP: whole, in part, or just whether they are there."""

from __future__ import annotations

import os
from typing import IO

from starlette.responses import Response

from registry.distribution import Code, DistributionError
from registry.distribution.grammar import check_digest
from registry.errors import DamagedBlobError
from runtime.registry_service.byte_range import Span, UnsatisfiableError, parse_range
from runtime.registry_service.call import Call, in_thread
from runtime.registry_service.file_response import FileResponse
from runtime.registry_service.refusals import error_response

FOREVER = "private, max-age=31536000, immutable"
"""For what a digest names. Not for caches between: a token may be needed."""


async def blobs(call: Call) -> Response:
    """GET, HEAD and DELETE /v2/<name>/blobs/<digest>."""
    digest = check_digest(call.route.reference)
    if call.method == "DELETE":
        await in_thread(call.distribution.blobs.delete, call.repository, digest)
        return Response(status_code=202)
    file = await in_thread(call.distribution.blobs.open, call.repository, digest)
    try:
        return _answer(call, digest, file)
    except BaseException:
        file.close()
        raise


def is_known(call: Call, digest: str) -> bool:
    """Whether the client says that it has it."""
    tags = call.headers.get("if-none-match", "")
    return tags.strip() == "*" or f'"{digest}"' in (
        tag.strip().removeprefix("W/") for tag in tags.split(",")
    )


def _answer(call: Call, digest: str, file: IO[bytes]) -> Response:
    status = os.fstat(file.fileno())
    if call.damage.is_damaged(digest, status):
        # Who only looks wants to know whether to push it: that would mend it.
        if call.method == "HEAD":
            raise DistributionError(Code.BLOB_UNKNOWN, "the stored blob is damaged", digest)
        raise DamagedBlobError(digest)
    etag = f'"{digest}"'
    headers = {
        "Docker-Content-Digest": digest,
        "ETag": etag,
        "Cache-Control": FOREVER,
        "Accept-Ranges": "bytes",
        "Content-Disposition": "attachment",
    }
    if is_known(call, digest):
        file.close()
        return Response(status_code=304, headers=headers)
    size = status.st_size
    try:
        wanted = call.headers.get("range") if call.method == "GET" else None
        span = parse_range(wanted, call.headers.get("if-range"), etag, size)
    except UnsatisfiableError:
        file.close()
        refused = error_response(
            416, Code.SIZE_INVALID, "the range begins behind the end of the blob", digest
        )
        refused.headers["Content-Range"] = f"bytes */{size}"
        return refused
    if span is None:
        return FileResponse(file, Span(0, size), 200, headers)
    headers["Content-Range"] = f"bytes {span.offset}-{span.offset + span.count - 1}/{size}"
    return FileResponse(file, span, 206, headers)
