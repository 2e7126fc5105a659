"""Buckets of an S3 API as ``Files``: s3fs and its botocore are named here only.

An object appears whole or not at all: that is S3's own promise. Large files go in parts, which are
thrown away when the last of them does not come to be. The SHA-256 of a file is kept with its object
(``x-amz-meta-inferry-sha256``); of objects from elsewhere the MD5 that an ETag is serves as well.

Requests go to the datastore's endpoint and nowhere else: a redirect is an error, and so is another
region's host.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ProxyConnectionError,
    SSLError,
)
from s3fs import S3FileSystem

from runtime.datastores.errors import (
    ClashError,
    DamagedError,
    DatastoreError,
    FullError,
    LostConnectionError,
    MissingExtraError,
    MissingFileError,
    RefusedError,
    UnreachableError,
)
from runtime.datastores.paths import check_path, is_unfinished, join, parts_below, shown
from runtime.datastores.port import MAX_FILES, Content, Item
from runtime.datastores.reach import PublicOnly
from runtime.datastores.remote import call
from runtime.datastores.s3_connector import connector_args

READ_BYTES = 8 * 1024 * 1024
PART_BYTES = 16 * 1024 * 1024
MAX_PARTS = 10_000
CONNECT_S = 10
READ_S = 60
DIGEST = "inferry-sha256"
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where, and as whom: as anybody where there is no key. ``public``: where the endpoint may be,
    None: anywhere. Secrets are not shown."""

    name: str
    endpoint: str
    region: str
    is_virtual: bool
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    public: PublicOnly | None = None

    def __repr__(self) -> str:
        return f"Bucket({self.name!r}, {self.endpoint!r})"


class _NoRedirects:
    """A session of aiohttp that takes a redirect for a refusal. botocore, too, would act on it:
    ask for the bucket's region, and be redirected again."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, *arguments: Any, **options: Any) -> Any:
        answer = await self._session.request(*arguments, **{**options, "allow_redirects": False})
        if 300 <= answer.status < 400 and answer.status != 304:
            answer.close()
            raise RefusedError(
                "the endpoint sends requests elsewhere, which are not followed; set endpoint and"
                " region to where the bucket is"
            )
        return answer


class _Connections(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's own would follow a redirect to any host, and send the session token there."""

    async def _get_session(self, proxy_url: str | None) -> _NoRedirects:
        return _NoRedirects(await super()._get_session(proxy_url))


class _Server(S3FileSystem):  # type: ignore[misc]
    cachable = False
    retries = 1  # of s3fs itself: trying again is patience.py's

    async def range(self, first: int, last: int, **what: Any) -> bytes:
        """These bytes, both ends included."""
        answer = await self._call_s3("get_object", Range=f"bytes={first}-{last}", **what)
        async with answer["Body"] as body:
            return await body.read()  # type: ignore[no-any-return]


class S3Files:
    """``prefix``: what each key begins with; nothing, or a path without its last slash."""

    has_times = False
    wants_digest = True

    def __init__(self, bucket: Bucket, prefix: str = "") -> None:
        self._bucket = bucket
        self._prefix = prefix.rstrip("/")
        self._server = _server(bucket)

    def __repr__(self) -> str:
        return f"S3Files({self._bucket!r}, {self._prefix!r})"

    def list(self, prefix: str, after: str = "") -> Iterator[Item]:
        """In order of key. A key that ends with a slash is what some programs put in the place of a
        folder: it is left out."""
        start = join(self._prefix, after) if parts_below(prefix, after) else ""
        if prefix and not after:
            found = self.stat(prefix)
            if found is not None:
                yield found
        base = join(self._prefix, prefix)
        begins = f"{base}/" if base else ""
        count = 0
        for page in self._pages(begins, start):
            for entry in page.get("Contents", ()):
                key = entry["Key"]
                if not key.startswith(begins) or key.endswith("/") or is_unfinished(key):
                    continue
                count += 1
                if count > MAX_FILES:
                    raise DatastoreError(f"more than {MAX_FILES} files are there; name a folder")
                yield self._item(join(prefix, key[len(begins) :]), entry, entry["Size"])

    def stat(self, path: str) -> Item | None:
        """With the SHA-256 where one of us wrote it."""
        try:
            with _said(path):
                head = self._call("head_object", **self._at(path))
        except MissingFileError:
            return None
        return self._item(path, head, head["ContentLength"])

    def read(self, item: Item, offset: int) -> Iterator[bytes]:
        """By ranges of READ_BYTES, all of the same content."""
        server, where = self._server, self._at(item.path)
        if item.mark:
            where["IfMatch"] = item.mark
        while offset < item.size_bytes:
            last = min(offset + READ_BYTES, item.size_bytes) - 1
            with _said(item.path):
                chunk = call(server, server.range, offset, last, **where)
            if not chunk:
                raise DamagedError(f"{shown(item.path)} ends too early; try again")
            yield chunk
            offset += len(chunk)

    def write(self, content: Content, *, replace: bool) -> None:
        """In one request, or in parts from PART_BYTES on."""
        where = self._at(content.path)
        with _said(content.path):
            if content.size_bytes <= PART_BYTES:
                self._put(content, {**where, **_meta(content), **_only(replace)})
            else:
                self._put_parts(content, where, replace=replace)

    def delete(self, path: str) -> None:
        """S3 itself does not say whether something was there."""
        if self.stat(path) is None:
            raise MissingFileError(f"there is no {shown(path)}")
        with _said(path):
            self._call("delete_object", **self._at(path))

    def close(self) -> None:
        """Connections end; the next use opens them again."""
        server, self._server = self._server, _server(self._bucket)
        client = server._s3
        if client is not None:
            with suppress(Exception):
                call(server, client.close)

    def check(self) -> None:
        """Look into the bucket. Raises DatastoreErrors."""
        with _said(self._bucket.name):
            self._call("list_objects_v2", Bucket=self._bucket.name, MaxKeys=1)

    def _call(self, method: str, **what: Any) -> Any:
        return call(self._server, self._server._call_s3, method, **what)

    def _at(self, path: str) -> dict[str, Any]:
        return {"Bucket": self._bucket.name, "Key": join(self._prefix, check_path(path))}

    def _pages(self, prefix: str, start: str) -> Iterator[Any]:
        token: dict[str, str] = {"StartAfter": start} if start else {}
        while True:
            with _said(prefix):
                page = self._call(
                    "list_objects_v2", Bucket=self._bucket.name, Prefix=prefix, **token
                )
            yield page
            following = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not following:
                return
            if token.get("ContinuationToken") == following:
                raise DatastoreError("the server lists the same page again and again")
            token = {"ContinuationToken": following}

    def _item(self, path: str, seen: Any, size_bytes: int) -> Item:
        changed = seen.get("LastModified")
        return Item(
            check_path(path),
            size_bytes,
            changed.timestamp() if isinstance(changed, datetime) else None,
            _digest(seen),
            seen.get("ETag"),
        )

    def _put(self, content: Content, what: dict[str, Any]) -> None:
        body = b"".join(content.chunks())
        self._call("put_object", Body=body, ContentMD5=_md5(body), **what)

    def _put_parts(self, content: Content, where: dict[str, Any], *, replace: bool) -> None:
        size = max(PART_BYTES, -(-content.size_bytes // MAX_PARTS))
        upload = self._call("create_multipart_upload", **where, **_meta(content))
        where = {**where, "UploadId": upload["UploadId"]}
        try:
            parts = []
            for number, body in enumerate(_parts(content.chunks(), size), 1):
                part = self._call(
                    "upload_part", Body=body, PartNumber=number, ContentMD5=_md5(body), **where
                )
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
            self._call(
                "complete_multipart_upload",
                MultipartUpload={"Parts": parts},
                **where,
                **_only(replace),
            )
        except BaseException:
            with suppress(Exception):
                self._call("abort_multipart_upload", **where)
            raise
        arrived = self.stat(content.path)
        if arrived is None or arrived.size_bytes != content.size_bytes:
            raise DamagedError(f"{shown(content.path)} did not arrive whole; try again")


@functools.cache
def _session() -> AioSession:
    """One for all: it has read what botocore knows of S3, which takes half a second, and has no
    credentials."""
    return AioSession()


def _server(bucket: Bucket) -> _Server:
    if not hasattr(AIOHTTPSession, "_get_session"):
        raise MissingExtraError(
            "this version of aiobotocore would follow redirects; install the one that is in"
            " requirements/dev.txt"
        )
    has_key = bucket.access_key_id is not None
    return _Server(
        session=_session(),
        anon=not has_key,  # never what this machine's environment, files or metadata service has
        key=bucket.access_key_id,
        secret=bucket.secret_access_key,
        token=bucket.session_token,
        # Always named: botocore would follow a redirect to another region's host otherwise.
        endpoint_url=bucket.endpoint,
        use_ssl=bucket.endpoint.startswith("https:"),
        use_listings_cache=False,
        client_kwargs={"region_name": bucket.region},
        config_kwargs={
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"max_attempts": 1, "mode": "standard"},
            "max_pool_connections": 8,
            "http_session_cls": _Connections,
            **_reach(bucket.public),
            "s3": {"addressing_style": "virtual" if bucket.is_virtual else "path"},
            # Not every store knows the newer checksums; each knows Content-MD5.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    )


def _reach(public: PublicOnly | None) -> dict[str, Any]:
    """No proxy where the addresses count: it would look them up itself."""
    return {} if public is None else {"connector_args": connector_args(public), "proxies": {}}


def _meta(content: Content) -> dict[str, Any]:
    return {"Metadata": {DIGEST: content.sha256}} if content.sha256 else {}


def _only(replace: bool) -> dict[str, str]:
    return {} if replace else {"IfNoneMatch": "*"}


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _parts(chunks: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    """The same bytes in parts of this size; the last may be smaller."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        while len(part) >= size_bytes:
            yield bytes(part[:size_bytes])
            del part[:size_bytes]
    if part:
        yield bytes(part)


def _digest(seen: Any) -> str | None:
    kept = seen.get("Metadata", {}).get(DIGEST, "")
    if _SHA256.fullmatch(kept):
        return f"sha256:{kept}"
    is_sealed = "aws:kms" in seen.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in seen
    etag = _MD5.fullmatch(seen.get("ETag") or "")
    return f"md5:{etag[1]}" if etag and not is_sealed else None


@contextmanager
def _said(path: str) -> Iterator[None]:
    """Errors of botocore and s3fs as DatastoreErrors."""
    try:
        yield
    except DatastoreError:
        raise
    except Exception as error:
        raise translate(error, shown(path)) from error


def translate(error: BaseException, path: str) -> DatastoreError:
    """What an error of botocore, s3fs or aiohttp means: by the code of S3 where there is one."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        return _by_code(cause, path)
    inner = getattr(error, "kwargs", {}).get("error")
    if isinstance(inner, DatastoreError):
        return inner
    if isinstance(error, EndpointConnectionError | ProxyConnectionError):
        return LostConnectionError("the endpoint cannot be reached: nobody answers there")
    if isinstance(error, SSLError):
        return UnreachableError("the endpoint's certificate cannot be trusted")
    if isinstance(error, NoCredentialsError):
        return RefusedError("the endpoint wants credentials")
    lost = isinstance(error, HTTPClientError | ConnectionError | TimeoutError | EOFError)
    if lost or type(error).__module__.startswith("aiohttp"):
        return LostConnectionError(f"the connection was lost at {path}")
    if isinstance(error, BotoCoreError):
        return DatastoreError(
            f"{path} failed: {type(error).__name__}; see the datastore's settings"
        )
    if isinstance(error, FileExistsError):
        return ClashError(f"{path} is there already", [path])
    return DatastoreError(f"{path} failed: {type(error).__name__}")


def _by_code(error: ClientError, path: str) -> DatastoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return MissingFileError("there is no such bucket at the endpoint; see the setting bucket")
    if code in ("NoSuchKey", "404") or status == 404:
        return MissingFileError(f"there is no {path}")
    if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
        return _changed(error, path)
    if status in (401, 403):
        return RefusedError(f"the endpoint refuses {path}: wrong keys, or no right to it")
    if status in (408, 429, 500, 502, 503, 504) or code in ("SlowDown", "RequestTimeout"):
        return LostConnectionError(f"the endpoint is busy or broken at {path} ({status})")
    if status == 507 or "Quota" in code or "StorageFull" in code:
        return FullError(f"no space is left at the endpoint for {path}")
    if code == "BadDigest":
        return DamagedError(f"{path} did not arrive as it was sent; try again")
    if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code):
        return DatastoreError(f"the endpoint refuses {path}: {code}")
    return DatastoreError(f"the endpoint refuses {path} ({status})")


def _changed(error: ClientError, path: str) -> DatastoreError:
    if error.operation_name == "GetObject":
        return DamagedError(f"{path} changed while it was read; try again")
    return ClashError(f"{path} is there already", [path])
