"""Images: name + version + OCI digest of models, the script that scores them, and all they need.

image = workspace.images.create("digits", models=["digits:1"], script=Path("score.py"))
workspace.images.unpack("digits", Path("bundle"))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from registry import image_rows, media_types, names, tags
from registry.activities import Activities, OnChange
from registry.blobs import BlobStore, file_chunks
from registry.clock import Clock
from registry.container_config import holds_bundle
from registry.database import Database
from registry.errors import ImageFailedError, InUseError, NotFoundError, RegistryError
from registry.folders import new_folder, write_file
from registry.image_order import ImageOrder
from registry.layers import read_layer
from registry.leases import lease
from registry.models import Progress
from registry.pages import MAX_LIMIT, Page, Window
from registry.paths import WorkspacePaths
from registry.records import Image
from registry.settings import Settings
from registry.version_lists import IMAGES, Sought, VersionLists, sought

if TYPE_CHECKING:
    from registry.image_building import MakeFpga
    from registry.image_making import ImageMaker
    from registry.remote.pushing import PushReport
    from registry.trust import Verified

REF_NAME = "org.opencontainers.image.ref.name"
Found = list[Image]
_BLOBS = """
SELECT digest FROM image_blobs WHERE name = ?1 AND version = ?2
UNION SELECT digest FROM manifests WHERE repository = ?1 AND subject = ?3
UNION SELECT b.digest FROM manifest_blobs b JOIN manifests m
  ON m.repository = b.repository AND m.digest = b.manifest
  WHERE m.repository = ?1 AND m.subject = ?3
"""
"""Of an image, its SBOM and its signature."""


class Images:
    """The images of one workspace."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        store: BlobStore,
        clock: Clock,
        settings: Settings,
        activities: Activities,
    ) -> None:
        self._paths = paths
        self._database = database
        self._store = store
        self._clock = clock
        self._settings = settings
        self._activities = activities
        self._lists = VersionLists(database, IMAGES, image_rows.read, _size_of)

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
        """Make the image and record it.

        ``base`` is a registry reference, ``docker:NAME`` of the Docker Engine, an OCI layout or the
        tar of a root file system; default: the workspace's. With ``none`` the image is a bundle
        only. ``dockerfile`` makes the base with the Docker Engine. ``platform`` is linux/amd64 or
        linux/arm64, default: this machine's. ``wheelhouse`` is a folder that all Python packages
        come from. ``sample`` is a request body that the proof scores. ``golden``: requests
        with known answers that a device tries first (registry/golden.py). ``pull`` and ``relock``
        ask anew for what is remembered of the base and of the versions of packages.
        ``revision``: the git commit of the code, default: that of the script's folder. With
        ``only_public``, as for who asks from elsewhere, the base's registry must be at a public
        address. ``base_said`` is what records call a base whose file is only there for a moment.

        What is wrong with the inputs is refused before anything is recorded; what fails later
        leaves a record in state ``failed`` with its cause, and raises."""
        order = ImageOrder(
            name=name,
            models=models,
            script=_path(script),
            source=_path(source),
            requirements=_path(requirements),
            conda=_path(conda),
            tags=tags or {},
            description=description,
            max_batch=max_batch,
            base=base,
            platform=platform,
            dockerfile=_path(dockerfile),
            wheelhouse=_path(wheelhouse),
            sample=_path(sample),
            golden=_path(golden),
            pull=pull,
            relock=relock,
            proof=proof,
            revision=revision,
            only_public=only_public,
            base_said=base_said,
        )
        return self._maker().create(order, on_change)

    def create_fpga(
        self,
        name: str,
        *,
        models: Sequence[str],
        make: MakeFpga,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        on_change: OnChange | None = None,
    ) -> Image:
        """Make an FPGA image, an OCI artifact and no container, of just one model.

        ``make`` compiles, within the activity: it is called with the folder of the model's files,
        which is there only during the call, and with what says a line of the log. What it gives
        (registry/fpga_artifact.py) must be there until this returns. What it raises leaves a record
        in state ``failed``; of a RegistryError the record has the message, of others the kind and
        what they were raised with."""
        return self._maker().create_fpga(
            name,
            models=models,
            make=make,
            tags=tags or {},
            description=description,
            on_change=on_change,
        )

    def list(
        self,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        latest: bool = False,
        limit: int | None = None,
    ) -> Found:
        """Images by name, then version; only those that match every tag; with ``latest`` only each
        name's newest match. The first ``limit`` of them."""
        return self._lists.all(sought(IMAGES, name, tags, latest), limit)

    def page(
        self,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        latest: bool = False,
        limit: int = MAX_LIMIT,
        token: str | None = None,
    ) -> Page[Image]:
        """As ``list``, page by page: ``token`` is of the page before. Raises InvalidNameError."""
        return self._lists.page(sought(IMAGES, name, tags, latest), limit, token)

    def window(self, *, part: str = "", offset: int = 0, limit: int = MAX_LIMIT) -> Window[Image]:
        """All versions of names with this ``part``, the newest of each name first, from number
        ``offset`` on."""
        return self._lists.window(Sought(part=part.lower(), is_newest_first=True), offset, limit)

    def get(self, ref: str) -> Image:
        """The image ``name:version``, or the latest version of ``name``. Raises NotFoundError."""
        with self._database.read() as connection:
            row = image_rows.find(connection, names.parse_reference(ref, "image"))
            return image_rows.read(connection, row)

    def annotations(self, ref: str) -> dict[str, str]:
        """What the image's OCI manifest says to anyone, such as where an FPGA's bitstream comes
        from (registry/fpga_artifact.py). Raises ImageFailedError, DamagedBlobError."""
        with self._held(ref) as image:
            found = json.loads(self._store.read(made(image))).get("annotations", {})
        return {str(key): str(value) for key, value in found.items()}

    def report(self, ref: str) -> bytes:
        """The compiler's report of an FPGA image, as JSON. Raises NotFoundError for an image that
        has none, ImageFailedError, DamagedBlobError."""
        with self._held(ref) as image:
            return read_report(image, lambda _, digest: self._store.read(digest))

    def digests(self, ref: str) -> frozenset[str]:
        """Those of all blobs of the image, its SBOM and its signature. Raises NotFoundError."""
        with self._database.read() as connection:
            row = image_rows.find(connection, names.parse_reference(ref, "image"))
            image = image_rows.read(connection, row)
            return frozenset(row["digest"] for row in connection.execute(_BLOBS, _key(image)))

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Image:
        """Set and remove tags."""
        added = names.check_pairs(set or {}, "tag")
        for key in remove:
            names.check_name(key, "tag")
        with self._database.write() as connection:
            row = image_rows.find(connection, names.parse_reference(ref, "image"))
            tags.change(connection, "image_tags", (row["name"], row["version"]), added, remove)
            return image_rows.read(connection, row)

    def hold(self, ref: str, user: str) -> Image:
        """Say that ``user``, such as the deployment ``web``, runs the image: it cannot be deleted
        until ``release``. Twice is once."""
        names.check_name(user, "user")
        with self._database.write() as connection:
            row = image_rows.find(connection, names.parse_reference(ref, "image"))
            connection.execute(
                "INSERT OR IGNORE INTO image_users VALUES (?, ?, ?)",
                (row["name"], row["version"], user),
            )
            return image_rows.read(connection, row)

    def release(self, ref: str, user: str) -> Image:
        """The opposite of ``hold``; nothing when it was not held."""
        with self._database.write() as connection:
            row = image_rows.find(connection, names.parse_reference(ref, "image"))
            connection.execute(
                "DELETE FROM image_users WHERE name = ? AND version = ? AND user = ?",
                (row["name"], row["version"], user),
            )
            return image_rows.read(connection, row)

    def delete(self, ref: str) -> Image:
        """Delete one version, which frees its models for deletion. Of a name with several versions
        the version must be said. Raises InUseError while a deployment runs it."""
        with self._database.write() as connection:
            row = image_rows.find_only(connection, names.parse_reference(ref, "image"))
            image = image_rows.read(connection, row)
            if image.users:
                raise InUseError(f"image {image.reference}", image.users, "deployment")
            connection.execute(
                "DELETE FROM image_versions WHERE name = ? AND version = ?",
                (image.name, image.version),
            )
            if image.digest is not None:
                from registry.distribution.manifest_rows import remove_manifests_of  # 20 ms

                remove_manifests_of(connection, image.name, image.digest)
        self.write_index()
        if image.details.base is not None and not self.list(name=image.name):
            _forget(image)
        return image

    def unpack(self, ref: str, target: Path | str) -> Path:
        """Write the image's bundle as the new folder ``target``, every byte verified first.

        Raises ImageFailedError, DamagedBlobError, TargetExistsError."""
        with self._held(ref) as image:
            return unpack_image(self._store, image, Path(target))

    def push(
        self,
        ref: str,
        target: str,
        *,
        insecure: bool = False,
        ca_file: Path | str | None = None,
        on_progress: Progress | None = None,
    ) -> PushReport:
        """Copy the image, its SBOM and its signature to another registry, such as
        ``host:5000/team/digits``; only what is not there is sent. Raises RemoteError."""
        from registry import image_transfer  # httpx, cryptography: 0.3 s

        with self._held(ref) as image:
            return image_transfer.push(
                self._store,
                image,
                made(image),
                target,
                insecure=insecure,
                ca_file=_path(ca_file),
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
        """Write the image as an OCI layout (a folder, or a ``.tar``), or as a tar for
        ``docker load``. Raises TargetExistsError (unless ``force``), TargetError."""
        from registry import image_transfer  # 0.1 s

        with self._held(ref) as image:
            return image_transfer.export(
                self._store,
                image,
                made(image),
                Path(target),
                form=format,
                force=force,
                on_progress=on_progress,
            )

    def verify(self, ref: str, *, keys: Sequence[str] = ()) -> Verified:
        """Check every byte, the signature and the SBOM; ``keys`` are the public keys to trust,
        files or ``ed25519:...``, by default the workspace's own. Raises TrustError,
        DamagedBlobError."""
        from registry import image_transfer  # 0.1 s

        with self._held(ref) as image:
            return image_transfer.verify(self._store, self._paths, image, made(image), keys)

    def write_index(self) -> None:
        """Make index.json name just the images that are there. Callers race freely: each writes
        what the database says while it holds the write lock."""
        with self._database.write() as connection:
            rows = connection.execute(
                "SELECT i.name, i.version, i.digest, b.size_bytes FROM image_versions i"
                " JOIN image_blobs b USING (name, version, digest) ORDER BY i.name, i.version"
            ).fetchall()
            self._store.write_index(
                [
                    {
                        "mediaType": media_types.MANIFEST,
                        "digest": row["digest"],
                        "size": row["size_bytes"],
                        "annotations": {REF_NAME: f"{row['name']}:{row['version']}"},
                    }
                    for row in rows
                ]
            )

    @contextmanager
    def _held(self, ref: str) -> Iterator[Image]:
        """The image, none of whose blobs a purge takes during the block, also if someone deletes
        it meanwhile. Of a workspace that cannot be written nobody purges anything."""
        with ExitStack() as stack:
            with suppress(OSError, RegistryError):
                stack.enter_context(lease(self._paths.leases, self._store.moving))
            with self._database.read() as connection:
                row = image_rows.find(connection, names.parse_reference(ref, "image"))
                image = image_rows.read(connection, row)
                digests = [row["digest"] for row in connection.execute(_BLOBS, _key(image))]
            with suppress(OSError, RegistryError):
                self._store.touch(digests)
            yield image

    def _maker(self) -> ImageMaker:
        from registry.image_making import ImageMaker  # 0.1 s that who only looks does not pay

        return ImageMaker(
            self._paths,
            self._database,
            self._store,
            self._clock,
            self._settings,
            self._activities,
            self.write_index,
        )


def unpack_image(store: BlobStore, image: Image, target: Path) -> Path:
    """As ``Images.unpack``, of an image whose blobs ``store`` has."""
    digest = made(image)
    if image.details.kind == "fpga":
        from registry.fpga_artifact import unpack_artifact  # few need it

        return unpack_artifact(store, digest, target)
    manifest = json.loads(store.read(digest))
    with new_folder(target) as folder:
        for layer in filter(holds_bundle, manifest["layers"]):
            with store.open(layer["digest"]) as file:
                for path, content, is_executable in read_layer(file):
                    write_file(folder / path, file_chunks(content), is_executable=is_executable)
    return target


def _forget(image: Image) -> None:
    """The engine keeps the image of a name that was proven last; of a name that is gone, nothing.
    It is no reason to fail."""
    from registry.engines import Engines  # 0.1 s, where there is an engine
    from registry.platforms import parse_platform
    from registry.proof.container import forget

    with suppress(RegistryError), Engines() as engines:
        engine = engines.at_hand(parse_platform(image.details.platform or ""))
        if engine is not None:
            forget(engine, image.name)


def _size_of(image: Image) -> int:
    """About, as a document."""
    return 2000 + len(image.log) + len(image.details.lock or "")


def _key(image: Image) -> tuple[str, int, str | None]:
    return image.name, image.version, image.digest


def read_report(image: Image, read: Callable[[str, str], bytes]) -> bytes:
    """As Images.report. ``read``: a blob, by the image's reference and its digest."""
    digest = made(image)
    if image.details.kind == "fpga":
        from registry.fpga_artifact import report_of  # msgspec types that others do not need

        if (found := report_of(read(image.reference, digest))) is not None:
            return read(image.reference, found)
    raise NotFoundError(f"image {image.reference} has no report of an FPGA's compiler")


def made(image: Image) -> str:
    """The digest of an image that was made. Raises ImageFailedError for one that was not."""
    if image.digest is None:
        raise ImageFailedError(f"image {image.reference} was not made: {image.cause}")
    return image.digest


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)
