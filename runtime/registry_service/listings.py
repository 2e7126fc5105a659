"""Lists: repositories, tags, referrers."""

from __future__ import annotations

import json

from starlette.responses import Response

from registry import media_types
from registry.distribution.grammar import check_digest
from registry.distribution.pages import Page, parse_page
from runtime.registry_service.call import Call, in_thread
from runtime.registry_service.paths import next_link


async def catalog(call: Call) -> Response:
    """GET /v2/_catalog."""
    query = parse_page(call.query.get("n"), call.query.get("last"))
    page = await in_thread(call.distribution.catalog.repositories, query)
    return _listed({"repositories": page.items}, page, "/v2/_catalog")


async def tags(call: Call) -> Response:
    """GET /v2/<name>/tags/list."""
    query = parse_page(call.query.get("n"), call.query.get("last"))
    page = await in_thread(call.distribution.catalog.tags, call.repository, query)
    document = {"name": call.repository, "tags": page.items}
    return _listed(document, page, f"/v2/{call.repository}/tags/list")


async def referrers(call: Call) -> Response:
    """GET /v2/<name>/referrers/<digest>."""
    subject = check_digest(call.route.reference)
    artifact_type = call.query.get("artifactType")
    query = parse_page(call.query.get("n"), call.query.get("last"))
    found = await in_thread(
        call.distribution.referrers.list, call.repository, subject, artifact_type, query
    )
    response = Response(found.index, media_type=media_types.INDEX)
    if artifact_type is not None:
        response.headers["OCI-Filters-Applied"] = "artifactType"
    if found.next is not None:
        path = f"/v2/{call.repository}/referrers/{subject}"
        response.headers["Link"] = next_link(path, found.next.n, found.next.last, artifact_type)
    return response


def _listed(document: object, page: Page, path: str) -> Response:
    response = Response(json.dumps(document), media_type="application/json")
    if page.next is not None:
        response.headers["Link"] = next_link(path, page.next.n, page.next.last)
    return response
