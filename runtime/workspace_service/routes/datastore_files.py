"""The files of datastores: they go through the service, which alone has the credentials, and are
not kept by it.

A path is checked by one rule for every kind of datastore (runtime/datastores/paths.py). Nothing is
reached through a symbolic link, and of the service's own machine nothing that is a workspace's. All
routes are ``async``: a server that does not answer holds a thread of the datastores, and no other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import islice
from threading import Event
from typing import ParamSpec, TypeVar
from urllib.parse import quote

from starlette.responses import Response

from registry.errors import InvalidNameError
from registry.pages import MAX_LIMIT, Page, check_limit, key_of, token_of
from runtime.datastores.comparing import algorithm
from runtime.datastores.errors import (
    ClashError,
    DamagedError,
    FullError,
    LostConnectionError,
    MissingFileError,
    UnreachableError,
    UnsafePathError,
)
from runtime.datastores.folder import FolderFiles
from runtime.datastores.paths import check_path, check_prefix, is_unfinished, parts_below, shown
from runtime.datastores.patience import Patience, tried
from runtime.datastores.port import Content, Item
from runtime.registry_service.byte_range import Span, UnsatisfiableError, parse_range
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import Fault, code_of
from runtime.workspace_service.opened_datastores import OpenDatastore
from runtime.workspace_service.receiving import receiving
from runtime.workspace_service.route import Route
from runtime.workspace_service.sent_items import Arriving, ItemResponse

P = ParamSpec("P")
T = TypeVar("T")
TOKENS = "files"
MAX_TOKEN_CHARS = 9000
"""A path of 1024 bytes, escaped and encoded."""
MAX_DIGEST_BYTES = {"file": 4 * 1024**3, "sftp": 512 * 1024**2, "s3": 512 * 1024**2}
"""Who wants to know of a larger file reads it: a client waits so long for no answer."""
FREE_BYTES = 256 * 1024**2
"""Left on the disk of a folder: the service's own database may be there."""
LATEST_S = 2.0**33
WAITS_S = (0.1,)
"""A connection that was kept may have been lost while nobody used it."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


async def list_files(
    call: Call, *, name: str, folder: str = "", limit: int = MAX_LIMIT, token: str | None = None
) -> Page[Item]:
    """List the files of a datastore, or those below a folder, a page at a time."""
    check_limit(limit, "files")
    after = "" if token is None else key_of(TOKENS, token, MAX_TOKEN_CHARS)[0]
    prefix = check_prefix(folder)
    try:
        parts_below(prefix, after)
    except UnsafePathError:
        raise InvalidNameError(f"{ascii(token)[:60]} is no page token of a list of files") from None

    def listed(store: OpenDatastore) -> list[Item]:
        _check_above(store, prefix)
        found = (item for item in store.files.list(prefix, after) if item.size_bytes >= 0)
        return list(islice(found, limit + 1))

    async with _store(call, name) as store:
        items = await store.do(_tried, listed, store)
    is_last = len(items) <= limit
    shown_items = tuple(_marked(item) for item in items[:limit])
    return Page(shown_items, None if is_last else token_of(TOKENS, shown_items[-1].path, 0))


async def get(call: Call, *, name: str, file: str) -> Item:
    """Show a file of a datastore: its size, its time, and its digest where the store knows it."""
    _check(file)
    async with _store(call, name) as store:
        return _marked(await store.do(_tried, _found, store, file))


async def digest(call: Call, *, name: str, file: str) -> Item:
    """Show a file of a datastore with the SHA-256 of its bytes, which are read for it; of one that
    is too large for that (4 GiB in a folder, 512 MiB elsewhere) as it is known."""
    _check(file)
    async with _store(call, name) as store:
        item = await store.do(_tried, _found, store, file)
        if item.size_bytes > MAX_DIGEST_BYTES[store.record.kind]:
            return _marked(item)
        known = await store.do(_tried, _sha256, store, item)
    return replace(_marked(item), digest=f"sha256:{known}")


async def download(call: Call, *, name: str, file: str) -> Response:
    """Download a file of a datastore, or a range of its bytes; If-Match takes its mark."""
    _check(file)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(_store(call, name))
        item = await store.do(_tried, _found, store, file)
        etag = f'"{_marked(item).mark}"'
        if call.headers.get("if-match", etag) not in (etag, "*"):
            raise DamagedError(f"{shown(file)} changed; list it again")
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Disposition": (
                f"attachment; filename*=UTF-8''{quote(file.rpartition('/')[2], safe='')}"
            ),
        }
        span = _span(call, item, etag)
        if call.method == "HEAD":
            headers["Content-Length"] = str(item.size_bytes)
            return Response(None, 200, headers, "application/octet-stream")
        if span is None:
            return ItemResponse(
                store, item, Span(0, item.size_bytes), stack.pop_all(), 200, headers
            )
        end = span.offset + span.count - 1
        headers["Content-Range"] = f"bytes {span.offset}-{end}/{item.size_bytes}"
        return ItemResponse(store, item, span, stack.pop_all(), 206, headers)


async def upload(
    call: Call,
    *,
    name: str,
    file: str,
    size: int,
    sha256: str | None = None,
    modified_s: float | None = None,
    overwrite: bool = False,
) -> Item:
    """Upload a file of ``size`` bytes to a datastore: whole, or not at all. What is there with the
    same bytes is the same file; other content is refused, unless ``overwrite``."""
    _check(file)
    if size < 0:
        raise Fault(400, "bad_value", "a file has no negative size")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise Fault(400, "bad_value", "sha256 is 64 hexadecimal digits in small letters")
    if modified_s is not None and not 0 <= modified_s < LATEST_S:
        raise Fault(400, "bad_value", "modified_s is a number of seconds from 1970 on")
    if call.body.size not in (None, size):
        raise Fault(400, "bad_value", f"the body has {call.body.size} bytes, not {size}")
    async with _store(call, name) as store:
        there = await store.do(_tried, _stat, store, file)
        if there is not None and not overwrite and there.size_bytes != size:
            raise ClashError(f"{shown(file)} is there already, with other content", [file])
        _check_room(store, size)
        subject = f"{file.rpartition('/')[2]} to {name} by {call.actor}"
        async with receiving(call, subject, size, 0, "nothing of it is kept") as advance:
            arriving = Arriving(call.body, size, sha256, advance)
            content = Content(file, size, arriving.chunks, modified_s, sha256)
            is_there = there is not None and not overwrite
            await _written(store, content, arriving, is_there=is_there, overwrite=overwrite)
        return _marked(await store.do(_tried, _found, store, file))


async def delete(call: Call, *, name: str, file: str) -> None:
    """Delete a file of a datastore."""
    _check(file)

    def gone(store: OpenDatastore) -> None:
        _check_above(store, file)
        store.files.delete(file)

    async with _store(call, name) as store:
        await store.do(gone, store)


async def _written(
    store: OpenDatastore, content: Content, arriving: Arriving, *, is_there: bool, overwrite: bool
) -> None:
    """Also where a file of this size ``is_there`` already, or comes meanwhile: if it is the same
    one. Raises ClashError."""
    if not is_there:
        try:
            await store.do(store.files.write, content, replace=overwrite)
            return
        except Exception as error:
            if arriving.error is not None:
                raise arriving.error from None
            if not isinstance(error, ClashError):
                raise
    await store.do(_drained, arriving)
    await store.do(_check_same, store, content.path, content.size_bytes, arriving.sha256)


@asynccontextmanager
async def _store(call: Call, name: str) -> AsyncIterator[OpenDatastore]:
    workspace = call.workspace
    try:
        async with call.site.datastores.used(
            call.workspace_name, workspace, name, call.actor
        ) as store:
            yield store
    except UnreachableError as error:
        raise Fault(424, code_of(type(error)), str(error)) from error


def _check(file: str) -> None:
    """Raises UnsafePathError."""
    if is_unfinished(check_path(file)):
        raise UnsafePathError(f"{shown(file)} is how a file is called that is being written")


def _check_above(store: OpenDatastore, path: str) -> None:
    """A folder of this machine is looked into part by part; an SSH server would follow links."""
    if store.record.kind != "sftp":
        return
    while path := path.rpartition("/")[0]:
        if store.files.stat(path) is not None:
            raise UnsafePathError(f"{shown(path)} is a symbolic link, or a file")


def _stat(store: OpenDatastore, file: str) -> Item | None:
    _check_above(store, file)
    return store.files.stat(file)


def _found(store: OpenDatastore, file: str) -> Item:
    item = _stat(store, file)
    if item is None:
        raise MissingFileError(f"there is no {shown(file)} in the datastore {store.record.name}")
    if item.size_bytes < 0:
        raise UnsafePathError(f"{shown(file)} is a symbolic link, or no file")
    return item


def _sha256(store: OpenDatastore, item: Item) -> str:
    if item.digest is not None and algorithm(item.digest) == "sha256":
        return item.digest.partition(":")[2]
    hashed = hashlib.sha256()
    for chunk in store.files.read(item, 0):
        hashed.update(chunk)
    return hashed.hexdigest()


def _check_same(store: OpenDatastore, file: str, size: int, sha256: str) -> None:
    there = _tried(_stat, store, file)
    if there is None or there.size_bytes != size or _tried(_sha256, store, there) != sha256:
        raise ClashError(f"{shown(file)} is there already, with other content", [file])


def _drained(arriving: Arriving) -> None:
    """All that comes, for its digest."""
    for _ in arriving.chunks():
        pass


def _check_room(store: OpenDatastore, size: int) -> None:
    if isinstance(store.files, FolderFiles) and store.files.free_bytes() - size < FREE_BYTES:
        raise FullError("the disk of the datastore has no room for the file; free some")


def _span(call: Call, item: Item, etag: str) -> Span | None:
    wanted = call.headers.get("range") if call.method == "GET" else None
    try:
        return parse_range(wanted, call.headers.get("if-range"), etag, item.size_bytes)
    except UnsatisfiableError:
        raise Fault(
            416,
            "bad_range",
            "the range begins behind the end",
            {"Content-Range": f"bytes */{item.size_bytes}"},
        ) from None


def _marked(item: Item) -> Item:
    """With a mark that says nothing of the machine, and changes with the content."""
    known = item.mark or (None if item.modified_s is None else int(item.modified_s))
    text = f"{item.size_bytes} {known}"
    return replace(item, mark=hashlib.sha256(text.encode()).hexdigest()[:32])


def _tried(act: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
    try:
        return tried(lambda: act(*args, **given), Patience(Event().wait, WAITS_S))
    except UnreachableError as error:
        if isinstance(error.__cause__, LostConnectionError):  # the client has more patience
            raise error.__cause__ from None
        raise


ROUTES = (
    Route("GET", "/datastores/{name}/files", "datastore_files.list", "reader", list_files),
    Route(
        "GET",
        "/datastores/{name}/files/{file:path}",
        "datastore_files.download",
        "reader",
        download,
    ),
    Route(
        "PUT",
        "/datastores/{name}/files/{file:path}",
        "datastore_files.upload",
        "contributor",
        upload,
    ),
    Route(
        "DELETE",
        "/datastores/{name}/files/{file:path}",
        "datastore_files.delete",
        "contributor",
        delete,
    ),
    Route("GET", "/datastores/{name}/items/{file:path}", "datastore_files.get", "reader", get),
    Route(
        "GET", "/datastores/{name}/digests/{file:path}", "datastore_files.digest", "reader", digest
    ),
)
