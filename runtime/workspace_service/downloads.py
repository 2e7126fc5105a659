"""A blob as an answer: whole or in part, to be kept as a file and never shown."""

from __future__ import annotations

import os
from urllib.parse import quote

from starlette.responses import Response

from registry.blobs import BlobStore
from runtime.registry_service.byte_range import Span, UnsatisfiableError, parse_range
from runtime.registry_service.file_response import FileResponse
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault


def blob(call: Call, store: BlobStore, digest: str, name: str) -> Response:
    """The blob that its caller has found to be one that this client may have; ``name`` is the
    file's, for who saves it. Raises DamagedBlobError, Fault 416. The client checks the digest."""
    file = store.open_unverified(digest)
    try:
        size, etag = os.fstat(file.fileno()).st_size, f'"{digest}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        wanted = call.headers.get("range") if call.method == "GET" else None
        span = parse_range(wanted, call.headers.get("if-range"), etag, size)
    except UnsatisfiableError:
        file.close()
        raise Fault(
            416,
            "bad_range",
            "the range begins behind the end",
            {"Content-Range": f"bytes */{size}"},
        ) from None
    except BaseException:
        file.close()
        raise
    if span is None:
        return FileResponse(file, Span(0, size), 200, headers)
    headers["Content-Range"] = f"bytes {span.offset}-{span.offset + span.count - 1}/{size}"
    return FileResponse(file, span, 206, headers)
