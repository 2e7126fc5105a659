"""Makes images and records them, for Images: what is wrong is refused before anything is recorded,
what fails later leaves a record that says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from registry import image_rows, media_types, names
from registry.activities import Activities, OnChange
from registry.blobs import BlobStore
from registry.build_log import BuildLog
from registry.clock import Clock
from registry.database import Database
from registry.distribution.manifest_rows import add_manifest
from registry.errors import InvalidSourceError, RegistryError
from registry.fpga_artifact import ENGINE
from registry.git_revision import check_revision
from registry.golden import first_input, read_golden
from registry.image_building import (
    BuildOptions,
    Built,
    ImageBuilder,
    MakeFpga,
    check_container_name,
)
from registry.image_order import ImageOrder
from registry.image_request import check_request, read_text
from registry.models import check_stored, find_version
from registry.paths import WorkspacePaths
from registry.platforms import parse_platform, this_platform
from registry.proof import read_sample
from registry.publishing import publishing
from registry.records import Image, ImageDetails, Model
from registry.settings import Settings


class ImageMaker:
    """Makes the images of one workspace; ``on_made`` is called when a record was written."""

    def __init__(
        self,
        paths: WorkspacePaths,
        database: Database,
        store: BlobStore,
        clock: Clock,
        settings: Settings,
        activities: Activities,
        on_made: Callable[[], None],
    ) -> None:
        self._paths = paths
        self._database = database
        self._store = store
        self._clock = clock
        self._settings = settings
        self._activities = activities
        self._on_made = on_made
        self._builder = ImageBuilder(paths, database, clock)

    def create(self, order: ImageOrder, on_change: OnChange | None) -> Image:
        """As ``Images.create``."""
        found, checked_tags = self._checked(order.name, order.models, order.tags, order.description)
        request = check_request(
            found,
            script=order.script,
            source=order.source,
            requirements=order.requirements,
            conda=order.conda,
            max_batch=order.max_batch,
        )
        if order.revision is not None:
            request = replace(request, revision=check_revision(order.revision))
        if order.golden is not None:
            request = replace(request, golden=read_golden(order.golden))
        sample = None if order.sample is None else read_sample(order.sample)
        if sample is None and request.golden is not None:
            sample = first_input(request.golden)
        options = BuildOptions(
            base=self._settings.base if order.base is None else order.base,
            platform=this_platform() if order.platform is None else parse_platform(order.platform),
            pull=order.pull,
            relock=order.relock,
            wheelhouse=order.wheelhouse,
            dockerfile=None if order.dockerfile is None else read_text(order.dockerfile),
            sample=sample,
            proof=order.proof,
            only_public=order.only_public,
            base_said=order.base_said,
        )
        if options.has_base:
            check_container_name(order.name)
        image = self._reserved(
            order.name,
            order.description,
            "onnx" if request.code is None else "script",
            None if request.code is None else request.code.script,
            request.requirements,
            request.models,
            checked_tags,
        )

        def build(store: BlobStore, log: BuildLog) -> Built:
            return self._builder.build(image.name, image.version, request, options, store, log)

        return self._build(image, request.models, build, on_change)

    def create_fpga(
        self,
        name: str,
        *,
        models: Sequence[str],
        make: MakeFpga,
        tags: Mapping[str, str],
        description: str,
        on_change: OnChange | None,
    ) -> Image:
        """As ``Images.create_fpga``."""
        found, checked_tags = self._checked(name, models, tags, description)
        if len(found) != 1:
            raise InvalidSourceError(f"an FPGA image has exactly one model, not {len(found)}")
        image = self._reserved(name, description, ENGINE, None, None, found, checked_tags)
        image = replace(image, details=ImageDetails(kind="fpga"))

        def build(store: BlobStore, log: BuildLog) -> Built:
            return self._builder.build_fpga(name, image.version, found[0], make, store, log)

        return self._build(image, found, build, on_change)

    def _checked(
        self, name: str, models: Sequence[str], tags: Mapping[str, str], description: str
    ) -> tuple[list[Model], dict[str, str]]:
        """The models and the tags. Raises InvalidNameError, NotFoundError."""
        names.check_name(name, "image name")
        checked_tags = names.check_pairs(tags, "tag")
        names.check_text(description, "the description")
        with self._database.read() as connection:
            return [find_version(connection, ref) for ref in models], checked_tags

    def _reserved(
        self,
        name: str,
        description: str,
        engine: str,
        script: str | None,
        requirements: str | None,
        models: Sequence[Model],
        tags: Mapping[str, str],
    ) -> Image:
        """What is recorded if nothing comes of it, with a version of its own."""
        with self._database.write() as connection:
            version = image_rows.reserve_version(connection, name)
        return Image(
            name,
            version,
            "failed",
            description,
            self._clock(),
            None,
            0,
            "",
            None,
            engine,
            script,
            requirements,
            tuple(model.reference for model in models),
            tags,
        )

    def _build(
        self,
        image: Image,
        models: Sequence[Model],
        build: Callable[[BlobStore, BuildLog], Built],
        on_change: OnChange | None,
    ) -> Image:
        with self._activities.start(
            kind="image", subject=image.reference, on_change=on_change
        ) as activity:
            log = BuildLog(activity)
            try:
                with publishing(self._paths, self._database, self._store) as store:
                    built = build(store, log)
                    image = self._record(image, models, built, store, log.lines, activity.id)
            except BaseException as error:
                self._record_failure(image, log.lines, error, activity.id)
                raise
        self._on_made()
        return image

    def _record(
        self,
        image: Image,
        models: Sequence[Model],
        built: Built,
        store: BlobStore,
        lines: Sequence[str],
        activity: str,
    ) -> Image:
        image = replace(
            image,
            state="succeeded",
            digest=built.digest,
            size_bytes=sum(built.blobs.values()),
            log="\n".join(lines),
            details=replace(built.details, activity=activity),
        )
        with self._database.write() as connection:
            check_stored(store)
            image_rows.insert(connection, image, models, built.blobs)
            for each in built.attached:
                add_manifest(
                    connection,
                    image.name,
                    each.digest,
                    media_types.MANIFEST,
                    each.size_bytes,
                    each.subject,
                    each.artifact_type,
                    each.blobs,
                )
        return image

    def _record_failure(
        self, image: Image, lines: Sequence[str], error: BaseException, activity: str
    ) -> None:
        """Best effort: on a full disk there may be no room for the record either."""
        cause = str(error) if isinstance(error, RegistryError) else f"stopped: {error!r}"
        failed = replace(
            image,
            log="\n".join([*lines, f"failed: {cause}"]),
            cause=cause,
            details=replace(image.details, activity=activity),
        )
        with suppress(RegistryError), self._database.write() as connection:
            image_rows.insert(connection, failed, (), {})
