"""The files of a datastore whose workspace is elsewhere, as ``Files``: each goes through the
service, which has the credentials. So an upload and a download are the same copy as beside the
workspace, with the same rules, messages and tries (runtime/datastores/transfer.py)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from registry.datastores import Datastore
from registry.errors import WorkspaceBusyError
from registry.pages import Page
from runtime.datastores.errors import DatastoreError, LostConnectionError, MissingFileError
from runtime.datastores.paths import check_path
from runtime.datastores.port import CHUNK_BYTES, MAX_FILES, Content, Item
from runtime.errors import ServiceError
from runtime.remote.client import ServiceClient
from runtime.remote.pages import walk
from runtime.workspace_service.call import Call
from runtime.workspace_service.routes import datastore_files as routes

P = ParamSpec("P")
T = TypeVar("T")
_LIST = cast(Callable[..., Page[Item]], routes.list_files)  # which is async there


class ServiceFiles:
    """Of one datastore. Threads may share it."""

    def __init__(self, client: ServiceClient, record: Datastore) -> None:
        self._client = client
        self._name = record.name
        self.has_times = record.kind == "sftp"
        self.wants_digest = record.kind == "s3"

    def __repr__(self) -> str:
        return f"ServiceFiles({self._name!r})"

    def list(self, prefix: str, after: str = "") -> Iterator[Item]:
        """In the order of the store."""
        count, is_before = 0, bool(after)
        with _said():
            for item in walk(self._client, _LIST, name=self._name, folder=prefix):
                count += 1
                if count > MAX_FILES:
                    raise DatastoreError(f"more than {MAX_FILES} files are there; name a folder")
                check_path(item.path)  # a service is not believed where files are written
                if not is_before:
                    yield item
                is_before = is_before and item.path != after

    def stat(self, path: str) -> Item | None:
        """With the digest where the store knows one."""
        try:
            with _said():
                return self._ask(routes.get, name=self._name, file=check_path(path))
        except MissingFileError:
            return None

    def digest(self, item: Item) -> str | None:
        """``sha256:<hex>``, of bytes that the service reads."""
        with _said():
            found = self._ask(routes.digest, name=self._name, file=item.path).digest
        return found if found and found.startswith("sha256:") else None

    def read(self, item: Item, offset: int) -> Iterator[bytes]:
        """As the service sends them."""
        if offset >= item.size_bytes > 0:
            return
        headers = {"If-Match": f'"{item.mark}"'} if item.mark else {}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        given = {"name": self._name, "file": item.path}
        with _said(), self._client.stream(routes.download, given, headers=headers) as answer:
            yield from answer.iter_raw(CHUNK_BYTES)

    def write(self, content: Content, *, replace: bool) -> None:
        """In one request."""
        with _said():
            self._client.send(
                routes.upload,
                content.chunks(),
                content.size_bytes,
                name=self._name,
                file=check_path(content.path),
                size=content.size_bytes,
                sha256=content.sha256,
                modified_s=content.modified_s,
                overwrite=replace,
            )

    def delete(self, path: str) -> None:
        """One file."""
        with _said():
            self._ask(routes.delete, name=self._name, file=check_path(path))

    def close(self) -> None:
        """The connections are the workspace's."""

    def _ask(
        self,
        function: Callable[Concatenate[Call, P], Coroutine[Any, Any, T]],
        *args: P.args,
        **given: P.kwargs,
    ) -> T:
        return cast(T, self._client.ask(function, *args, **given))


@contextmanager
def _said() -> Iterator[None]:
    """What may go better the next time is a lost connection."""
    try:
        yield
    except ServiceError as error:
        if error.is_passing or error.was_not_sent or error.status in (502, 503, 504):
            raise LostConnectionError(str(error)) from error
        raise
    except WorkspaceBusyError as error:
        raise LostConnectionError(str(error)) from error
