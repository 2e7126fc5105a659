"""One repository of a registry: its manifests, tags and whether it has a blob."""

from __future__ import annotations

from collections.abc import Iterator

from registry import media_types
from registry.errors import RemoteError
from registry.remote.client import RegistryClient, Request
from registry.remote.documents import (
    ACCEPTED,
    MAX_MANIFEST_BYTES,
    Document,
    digest_of,
    parse_document,
    parse_object,
)
from registry.remote.http import Answer, Body
from registry.remote.reference import ImageReference, is_digest
from registry.remote.refusals import plain
from registry.remote.tokens import Scopes
from registry.remote.urls import Url

MAX_PAGES = 200
MAX_PAGE_BYTES = 4 * 1024 * 1024
PAGE_ENTRIES = 1000


class Repository:
    """``reference`` names the registry and the path; its tag and digest are not looked at."""

    def __init__(self, client: RegistryClient, reference: ImageReference) -> None:
        self.client = client
        self.host = reference.host
        self.path = reference.path
        self.pull_scope: Scopes = (f"repository:{self.path}:pull",)
        self.push_scope: Scopes = (f"repository:{self.path}:pull,push",)

    def url(self, rest: str) -> str:
        """The path of ``rest`` below this repository."""
        return f"/v2/{self.path}/{rest}"

    def manifest(self, target: str) -> Document:
        """By tag or digest, verified. Raises RemoteError."""
        what = self.name(target)
        request = Request(
            "GET",
            self.url(f"manifests/{target}"),
            self.pull_scope,
            f"the manifest of {what}",
            headers={"Accept": ACCEPTED},
            is_followed=True,
        )
        with self.client.send(request) as answer:
            data = answer.read(MAX_MANIFEST_BYTES, "manifest")
            promised = target if is_digest(target) else answer.header("docker-content-digest")
            content_type = answer.header("content-type") or ""
        if promised is not None and promised.startswith("sha256:") and promised != digest_of(data):
            raise RemoteError(
                f"{self.host} sends a manifest of {what} that does not have the digest"
                f" {plain(promised)}; nothing of it was kept"
            )
        return parse_document(data, content_type, what)

    def find_manifest(self, target: str) -> Document | None:
        """As ``manifest``; None if there is none."""
        try:
            return self.manifest(target)
        except RemoteError as error:
            if error.status == 404:
                return None
            raise

    def put_manifest(self, target: str, data: bytes, media_type: str) -> str | None:
        """Under a tag or its digest; returns the OCI-Subject header."""
        request = Request(
            "PUT",
            self.url(f"manifests/{target}"),
            self.push_scope,
            f"the manifest of {self.name(target)}",
            frozenset({200, 201, 202}),
            {"Content-Type": media_type},
            Body(len(data), lambda: iter([data])),
        )
        with self.client.send(request) as answer:
            stored = answer.header("docker-content-digest")
            if stored is not None and stored.startswith("sha256:") and stored != digest_of(data):
                raise RemoteError(
                    f"{self.host} stored the manifest as {plain(stored)}, not {digest_of(data)}"
                )
            return answer.header("oci-subject")

    def has_blob(self, digest: str, size_bytes: int) -> bool:
        """Whether it is there, with that size as far as the registry says one."""
        request = Request(
            "HEAD",
            self.url(f"blobs/{digest}"),
            self.push_scope,
            f"{digest} of {self.path}",
            frozenset({200, 404}),
            is_followed=True,
        )
        with self.client.send(request) as answer:
            return answer.status == 200 and answer.size_bytes in (None, size_bytes)

    def blob(self, digest: str, start: int) -> Answer:
        """The blob from byte ``start`` on, if the registry minds Range. The caller closes it."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        request = Request(
            "GET",
            self.url(f"blobs/{digest}"),
            self.pull_scope,
            f"{digest} of {self.path}",
            frozenset({200, 206}),
            headers,
            is_followed=True,
        )
        return self.client.send(request)

    def tags(self) -> list[str]:
        """All, sorted. Raises RemoteError."""
        found: set[str] = set()
        what = f"the tags of {self.path}"
        for answer in self._pages(self.url(f"tags/list?n={PAGE_ENTRIES}"), what, frozenset({200})):
            page = parse_object(answer.read(MAX_PAGE_BYTES, "list of tags"), what).get("tags")
            if page is not None and not isinstance(page, list):
                raise RemoteError(f"{self.host} sends no list for {what}")
            found.update(tag for tag in page or () if isinstance(tag, str) and tag == plain(tag))
        return sorted(found)

    def referrers(self, digest: str) -> list[Document] | None:
        """The pages of the referrers API; None if the registry has none."""
        what = f"the referrers of {digest}"
        pages = []
        target = self.url(f"referrers/{digest}")
        for answer in self._pages(target, what, frozenset({200, 404})):
            content_type = (answer.header("content-type") or "").partition(";")[0].strip()
            if answer.status == 404 or content_type != media_types.INDEX:
                return None
            data = answer.read(MAX_PAGE_BYTES, "list of referrers")
            pages.append(parse_document(data, content_type, what))
        return pages

    def name(self, target: str) -> str:
        """For messages."""
        return f"{self.host}/{self.path}{'@' if is_digest(target) else ':'}{target}"

    def _pages(self, target: str, what: str, expected: frozenset[int]) -> Iterator[Answer]:
        """Each page, as the Link headers lead."""
        url: str | Url = target
        for _ in range(MAX_PAGES):
            with self.client.send(Request("GET", url, self.pull_scope, what, expected)) as answer:
                yield answer
                link = answer.header("link") or ""
                base = answer.url
            address, _, relation = link.partition(">")
            if 'rel="next"' not in relation or not address.lstrip().startswith("<"):
                return
            following = self.client.location(base, address.lstrip()[1:])
            if following.origin != base.origin:
                raise RemoteError(f"{self.host} continues {what} at another server; refused")
            url = following
        raise RemoteError(f"{self.host} sends more than {MAX_PAGES} pages for {what}")
