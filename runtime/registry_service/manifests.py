"""Manifests over HTTP."""

from __future__ import annotations

from starlette.responses import Response

from registry.distribution.manifest import MAX_MANIFEST_BYTES
from runtime.registry_service.blobs import FOREVER, is_known
from runtime.registry_service.call import Call, in_thread
from runtime.registry_service.paths import manifest_path


async def manifests(call: Call) -> Response:
    """GET, HEAD, PUT and DELETE /v2/<name>/manifests/<reference>."""
    if call.method == "PUT":
        return await _put(call)
    if call.method == "DELETE":
        await in_thread(call.distribution.manifests.delete, call.repository, call.route.reference)
        return Response(status_code=202)
    return await _get(call)


async def _get(call: Call) -> Response:
    reference = call.route.reference
    stored = await in_thread(call.distribution.manifests.get, call.repository, reference)
    headers = {
        "Docker-Content-Digest": stored.digest,
        "ETag": f'"{stored.digest}"',
        "Cache-Control": FOREVER if reference == stored.digest else "no-cache",
    }
    if is_known(call, stored.digest):
        return Response(status_code=304, headers=headers)
    return Response(stored.data, headers=headers, media_type=stored.media_type)


async def _put(call: Call) -> Response:
    repository = call.repository
    data = await call.body.all(MAX_MANIFEST_BYTES, "a manifest")
    pushed = await in_thread(
        call.distribution.manifests.put,
        repository,
        call.route.reference,
        data,
        call.headers.get("content-type"),
    )
    headers = {
        "Location": manifest_path(repository, pushed.digest),
        "Docker-Content-Digest": pushed.digest,
    }
    if pushed.subject is not None:
        headers["OCI-Subject"] = pushed.subject
    return Response(status_code=201, headers=headers)
