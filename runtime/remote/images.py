"""Images of a workspace elsewhere.

One is made there, of files that are uploaded. What takes one out (push, export, unpack, verify) is
done here, with its blobs and with this user's passwords: the service connects to nobody for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from registry import tree
from registry.activities import Activity, OnChange
from registry.base.layout_archive import MAX_BLOBS, is_of_layout, unpacked_layout
from registry.base.reference import Layout, LayoutArchive, RootArchive, parse_base
from registry.errors import CancelledError, ImageFailedError, InvalidSourceError, NotFoundError
from registry.git_revision import git_revision
from registry.images import made, read_report, unpack_image
from registry.records import Image
from registry.settings import NO_BASE
from registry.source import read_code
from runtime.remote.activities import RemoteActivities
from runtime.remote.client import ServiceClient
from runtime.remote.image_store import FetchedStore
from runtime.remote.pages import walk
from runtime.remote.transfers import Progress, Transfers
from runtime.workspace_service.routes import images as routes
from runtime.workspace_service.sent_file import SentFile

if TYPE_CHECKING:
    from registry.remote.pushing import PushReport
    from registry.trust import Verified

Found = list[Image]


class RemoteImages:
    """As registry.images.Images."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client
        self._transfers = Transfers(client)
        self._activities = RemoteActivities(client)

    def create(
        self,
        name: str,
        *,
        models: Sequence[str],
        script: Path | str | None = None,
        source: Path | str | None = None,
        requirements: Path | str | None = None,
        conda: Path | str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        max_batch: int | None = None,
        base: str | None = None,
        platform: str | None = None,
        dockerfile: Path | str | None = None,
        wheelhouse: Path | str | None = None,
        sample: Path | str | None = None,
        golden: Path | str | None = None,
        pull: bool = False,
        relock: bool = False,
        proof: bool = True,
        revision: str | None = None,
        only_public: bool = False,
        base_said: str | None = None,
        on_change: OnChange | None = None,
    ) -> Image:
        """As Images.create; the base ``docker:NAME`` is one of the service's engine, and what is
        asked ``only_public`` is what the service's operator said; ``base_said`` is the service's
        to say."""
        path, code = self._code(script, source)
        sent = self._base(base)
        begun = self._client.ask(
            routes.create,
            name=name,
            models=tuple(models),
            script=path,
            source=code,
            requirements=self._file(requirements),
            conda=self._file(conda),
            dockerfile=self._file(dockerfile),
            wheelhouse=() if wheelhouse is None else self._wheels(Path(wheelhouse)),
            sample=self._file(sample),
            golden=self._file(golden),
            base=sent.name,
            base_file=sent.file,
            base_layout=sent.layout,
            base_tag=sent.tag,
            tags=dict(tags or {}),
            description=description,
            max_batch=max_batch,
            platform=platform,
            pull=pull,
            relock=relock,
            proof=proof,
            revision=_revision(script, source) if revision is None else revision,
        )
        return self._made(begun, on_change)

    def create_fpga(
        self,
        name: str,
        *,
        models: Sequence[str],
        calibration: Path | str | None = None,
        held_out: Path | str | None = None,
        lanes: int = 16,
        board: str = "pynq-z2",
        tail_on_host: bool = False,
        bitstream: Path | str | None = None,
        hwh: Path | str | None = None,
        provenance: str | None = None,
        golden: Path | str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        max_batch: int | None = None,
        on_change: OnChange | None = None,
    ) -> Image:
        """Have one model compiled there, of files from here, and an image made of it, as
        ``inferry image create --kind fpga`` has it. Images.create_fpga is given what compiles; here
        the service has it. Raises NoCompilerError where it has not."""
        begun = self._client.ask(
            routes.create_fpga,
            name=name,
            models=tuple(models),
            calibration=self._file(calibration),
            held_out=self._file(held_out),
            lanes=lanes,
            board=board,
            tail_on_host=tail_on_host,
            bitstream=self._file(bitstream),
            hwh=self._file(hwh),
            provenance=provenance,
            golden=self._file(golden),
            tags=dict(tags or {}),
            description=description,
            max_batch=max_batch,
        )
        return self._made(begun, on_change)

    def list(
        self,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        latest: bool = False,
        limit: int | None = None,
    ) -> Found:
        """As Images.list."""
        return [
            *walk(
                self._client,
                routes.list_images,
                limit,
                name=name,
                tags=tuple(tags),
                latest=latest,
            )
        ]

    def get(self, ref: str) -> Image:
        """As Images.get."""
        return self._client.ask(routes.get, ref=ref)

    def annotations(self, ref: str) -> dict[str, str]:
        """As Images.annotations."""
        return self._client.ask(routes.said, ref=ref)

    def report(self, ref: str) -> bytes:
        """As Images.report."""
        return read_report(self.get(ref), lambda *blob: b"".join(self._fetch(*blob)))

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Image:
        """As Images.tag."""
        return self._client.ask(routes.tag, ref=ref, set=dict(set or {}), remove=tuple(remove))

    def delete(self, ref: str) -> Image:
        """As Images.delete."""
        return self._client.ask(routes.delete, ref=ref)

    def unpack(self, ref: str, target: Path | str) -> Path:
        """As Images.unpack."""
        with self._fetched(ref) as (image, store):
            return unpack_image(store, image, Path(target))

    def push(
        self,
        ref: str,
        target: str,
        *,
        insecure: bool = False,
        ca_file: Path | str | None = None,
        on_progress: Progress | None = None,
    ) -> PushReport:
        """As Images.push, from here: what is not there is fetched and sent on."""
        from registry import image_transfer  # cryptography: 0.1 s

        with self._fetched(ref) as (image, store):
            return image_transfer.push(
                store,
                image,
                made(image),
                target,
                insecure=insecure,
                ca_file=None if ca_file is None else Path(ca_file),
                on_progress=on_progress,
            )

    def export(
        self,
        ref: str,
        target: Path | str,
        *,
        format: Literal["oci", "docker"] = "oci",
        force: bool = False,
        on_progress: Progress | None = None,
    ) -> Path:
        """As Images.export, to a file or folder here."""
        from registry import image_transfer

        with self._fetched(ref) as (image, store):
            return image_transfer.export(
                store,
                image,
                made(image),
                Path(target),
                form=format,
                force=force,
                on_progress=on_progress,
            )

    def verify(self, ref: str, *, keys: Sequence[str] = ()) -> Verified:
        """As Images.verify: every byte is checked here. Without ``keys`` that of the service is
        believed."""
        from registry import image_transfer

        trusted = list(keys) or [self._client.ask(routes.key)]
        with self._fetched(ref) as (image, store):
            return image_transfer.verify(store, store.paths, image, made(image), trusted)

    @contextmanager
    def _fetched(self, ref: str) -> Iterator[tuple[Image, FetchedStore]]:
        """The image, and its blobs for as long as the block runs."""
        image = self.get(ref)
        made(image)
        fetch: Callable[[str], Iterator[bytes]] = partial(self._fetch, image.reference)
        with tempfile.TemporaryDirectory(prefix="inferry-image-") as folder:
            yield image, FetchedStore(Path(folder), fetch)

    def _fetch(self, ref: str, digest: str) -> Iterator[bytes]:
        return self._transfers.fetch(routes.download, {"ref": ref, "digest": digest}, digest)

    def _made(self, begun: Activity, on_change: OnChange | None) -> Image:
        ended = self._activities.followed(begun, on_change)
        if ended.state == "cancelled":
            raise CancelledError(ended.cause or "cancelled on request")
        if ended.state == "failed":
            raise ImageFailedError(self._cause(ended))
        return self.get(ended.subject)

    def _cause(self, ended: Activity) -> str:
        """The record of the image has all of it, if there was room for a record."""
        with suppress(NotFoundError):
            if (cause := self.get(ended.subject).cause) is not None:
                return cause
        return ended.cause or "the image was not made"

    def _code(
        self, script: Path | str | None, source: Path | str | None
    ) -> tuple[str | None, tuple[SentFile, ...]]:
        """The script's path among the files that go along, chosen as for an image here."""
        if script is None:
            if source is not None:
                raise InvalidSourceError("a source folder needs a script to start from")
            return None, ()
        code = read_code(Path(script), None if source is None else Path(source))
        return code.script, tuple(self._transfers.send(code.files))

    def _wheels(self, folder: Path) -> tuple[SentFile, ...]:
        if not folder.is_dir():
            raise InvalidSourceError(f"the wheelhouse '{folder.name}' is no folder")
        files = tree.walk(
            folder, is_wanted=lambda path, is_folder: not is_folder and path.endswith(".whl")
        )
        return tuple(self._transfers.send(files))

    def _file(self, path: Path | str | None) -> SentFile | None:
        if path is None:
            return None
        if Path(path).is_dir():
            raise InvalidSourceError(f"'{path}' is a folder, not a file")
        return self._transfers.send(tree.walk(Path(path)))[0]

    def _base(self, base: str | None) -> _SentBase:
        if base is None or base == NO_BASE:
            return _SentBase(base)
        match parse_base(base):
            case RootArchive(path):
                return _SentBase(None, self._file(path))
            case Layout(folder, tag):
                return _SentBase(None, layout=self._layout(folder), tag=tag)
            case LayoutArchive(path, tag):
                with unpacked_layout(path) as folder:
                    return _SentBase(None, layout=self._layout(folder), tag=tag)
        return _SentBase(base)

    def _layout(self, folder: Path) -> tuple[SentFile, ...]:
        """Its own files, whatever else lies there."""
        files = tree.walk(
            folder,
            max_files=MAX_BLOBS,
            is_wanted=lambda path, is_folder: (
                path in ("blobs", "blobs/sha256") if is_folder else is_of_layout(path)
            ),
        )
        return tuple(self._transfers.send(files))


@dataclass(frozen=True, slots=True)
class _SentBase:
    """A base by its name, or as it was uploaded."""

    name: str | None
    file: SentFile | None = None
    layout: tuple[SentFile, ...] = ()
    tag: str | None = None


def _revision(script: Path | str | None, source: Path | str | None) -> str | None:
    """Of the code where it lies here; what is uploaded has no repository."""
    if script is None:
        return None
    return git_revision(Path(script).resolve().parent if source is None else Path(source))
