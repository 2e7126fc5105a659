"""Images: name + version + OCI digest of models and the script that scores them.

image = workspace.images.create("digits", models=["digits:1"], script=Path("score.py"))
workspace.images.unpack("digits", Path("bundle"))
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from registry import media_types, names, tags
from registry.assembly import assemble
from registry.blobs import BlobStore, file_chunks
from registry.clock import Clock
from registry.database import Database
from registry.errors import ImageFailedError, NotFoundError, RegistryError
from registry.folders import new_folder, write_file
from registry.image_request import check_request
from registry.layer_cache import DatabaseLayerCache
from registry.layers import read_layer
from registry.models import Progress, check_stored, find_version
from registry.names import Reference
from registry.paths import WorkspacePaths
from registry.publishing import publishing
from registry.records import Image, Model

REF_NAME = "org.opencontainers.image.ref.name"
Found = list[Image]
Blobs = list[tuple[str, int]]


class Images:
    """The images of one workspace."""

    def __init__(
        self, paths: WorkspacePaths, database: Database, store: BlobStore, clock: Clock
    ) -> None:
        self._paths = paths
        self._database = database
        self._store = store
        self._clock = clock

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
        on_progress: Progress | None = None,
    ) -> Image:
        """Record the image and write its bundle into the store as layers.

        What is wrong with the inputs is refused before anything is recorded; what fails later
        leaves a record in state ``failed`` with its cause, and raises."""
        names.check_name(name, "image name")
        checked_tags = names.check_pairs(tags or {}, "tag")
        names.check_text(description, "the description")
        with self._database.read() as connection:
            found = [find_version(connection, ref) for ref in models]
        request = check_request(
            found,
            script=_path(script),
            source=_path(source),
            requirements=_path(requirements),
            conda=_path(conda),
            max_batch=max_batch,
        )
        log = [f"models: {', '.join(model.reference for model in request.models)}", *request.notes]
        with publishing(self._paths, self._database, self._store) as store:
            version = self._reserve(name)
            image = Image(
                name,
                version,
                "failed",
                description,
                self._clock(),
                None,
                0,
                "",
                None,
                "onnx" if request.code is None else "script",
                None if request.code is None else request.code.script,
                request.requirements,
                tuple(model.reference for model in request.models),
                checked_tags,
            )
            try:
                on_bytes = _counter(sum(m.size_bytes for m in request.models), on_progress)
                cache = DatabaseLayerCache(self._database)
                made = assemble(store, name, version, request, cache, log, on_bytes)
                image = replace(
                    image,
                    state="succeeded",
                    digest=made.manifest,
                    size_bytes=sum(made.blobs.values()),
                    log="\n".join(log),
                )
                self._record(image, request.models, list(made.blobs.items()), store)
            except BaseException as error:
                self._record_failure(image, log, error)
                raise
        self.write_index()
        return image

    def list(
        self, *, name: str | None = None, tags: Sequence[str] = (), latest: bool = False
    ) -> Found:
        """Images by name, then version; only those that match every tag; with ``latest`` only each
        name's newest match."""
        queries = [names.parse_query(tag) for tag in tags]
        if name is not None:
            names.check_name(name, "image name")
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM image_versions WHERE ?1 IS NULL OR name = ?1 ORDER BY name, version",
                (name,),
            ).fetchall()
            found = [_image(connection, row) for row in rows]
        matching = [
            image
            for image in found
            if all(q.key in image.tags and q.value in (None, image.tags[q.key]) for q in queries)
        ]
        return list({i.name: i for i in matching}.values()) if latest else matching

    def get(self, ref: str) -> Image:
        """The image ``name:version``, or the latest version of ``name``. Raises NotFoundError."""
        with self._database.read() as connection:
            return _image(connection, _find(connection, names.parse_reference(ref, "image")))

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Image:
        """Set and remove tags."""
        added = names.check_pairs(set or {}, "tag")
        for key in remove:
            names.check_name(key, "tag")
        with self._database.write() as connection:
            row = _find(connection, names.parse_reference(ref, "image"))
            tags.change(connection, "image_tags", (row["name"], row["version"]), added, remove)
            return _image(connection, row)

    def delete(self, ref: str) -> Image:
        """Delete one version, which frees its models for deletion. Of a name with several versions
        the version must be said."""
        with self._database.write() as connection:
            reference = names.parse_reference(ref, "image")
            rows = connection.execute(
                "SELECT version FROM image_versions WHERE name = ?", (reference.name,)
            ).fetchall()
            if reference.version is None and len(rows) > 1:
                raise NotFoundError(
                    f"image {reference} has {len(rows)} versions; say which one, such as"
                    f" {reference.name}:{rows[0][0]}"
                )
            image = _image(connection, _find(connection, reference))
            connection.execute(
                "DELETE FROM image_versions WHERE name = ? AND version = ?",
                (image.name, image.version),
            )
        self.write_index()
        return image

    def unpack(self, ref: str, target: Path | str) -> Path:
        """Write the image's bundle as the new folder ``target``, every byte verified first.

        Raises ImageFailedError, DamagedBlobError, TargetExistsError."""
        image = self.get(ref)
        if image.digest is None:
            raise ImageFailedError(f"image {image.reference} was not made: {image.cause}")
        manifest = json.loads(self._store.read(image.digest))
        with new_folder(Path(target)) as folder:
            for layer in manifest["layers"]:
                with self._store.open(layer["digest"]) as file:
                    for path, content, is_executable in read_layer(file):
                        write_file(folder / path, file_chunks(content), is_executable=is_executable)
        return Path(target)

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

    def _reserve(self, name: str) -> int:
        with self._database.write() as connection:
            row = connection.execute(
                "INSERT INTO images (name, next_version) VALUES (?, 2) ON CONFLICT (name)"
                " DO UPDATE SET next_version = next_version + 1 RETURNING next_version - 1",
                (name,),
            ).fetchone()
            return int(row[0])

    def _record(
        self, image: Image, models: Sequence[Model], blobs: Blobs, store: BlobStore | None = None
    ) -> None:
        key = (image.name, image.version)
        with self._database.write() as connection:
            if store is not None:
                check_stored(store)
            connection.execute(
                "INSERT INTO image_versions (name, version, state, description, created_at, digest,"
                " size_bytes, log, cause, engine, script, requirements)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *key,
                    image.state,
                    image.description,
                    image.created_at,
                    image.digest,
                    image.size_bytes,
                    image.log,
                    image.cause,
                    image.engine,
                    image.script,
                    image.requirements,
                ),
            )
            try:
                connection.executemany(
                    "INSERT INTO image_models VALUES (?, ?, ?, ?)",
                    [(*key, model.name, model.version) for model in models],
                )
            except sqlite3.IntegrityError as error:
                raise NotFoundError("a model was deleted while its image was made") from error
            connection.executemany(
                "INSERT INTO image_blobs VALUES (?, ?, ?, ?)", [(*key, *blob) for blob in blobs]
            )
            tags.change(connection, "image_tags", key, image.tags, ())

    def _record_failure(self, image: Image, log: Sequence[str], error: BaseException) -> None:
        """Best effort: on a full disk there may be no room for the record either."""
        cause = str(error) if isinstance(error, RegistryError) else f"stopped: {error!r}"
        failed = replace(
            image,
            state="failed",
            digest=None,
            size_bytes=0,
            log="\n".join([*log, f"failed: {cause}"]),
            cause=cause,
        )
        with suppress(RegistryError):
            self._record(failed, (), [])


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)


def _counter(total: int, on_progress: Progress | None) -> Callable[[int], None]:
    """Adds up what is written, for a caller who wants to know how far it is."""
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(min(done, total), total)

    return on_bytes


def _find(connection: sqlite3.Connection, reference: Reference) -> sqlite3.Row:
    row = connection.execute(
        "SELECT * FROM image_versions WHERE name = ?1 AND (?2 IS NULL OR version = ?2)"
        " ORDER BY version DESC LIMIT 1",
        (reference.name, reference.version),
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no image {reference}; see inferry image list")
    assert isinstance(row, sqlite3.Row)
    return row


def _image(connection: sqlite3.Connection, row: sqlite3.Row) -> Image:
    key = (row["name"], row["version"])
    models = connection.execute(
        "SELECT model, model_version FROM image_models WHERE name = ? AND version = ?"
        " ORDER BY model, model_version",
        key,
    ).fetchall()
    return Image(
        *key,
        state=row["state"],
        description=row["description"],
        created_at=row["created_at"],
        digest=row["digest"],
        size_bytes=row["size_bytes"],
        log=row["log"],
        cause=row["cause"],
        engine=row["engine"],
        script=row["script"],
        requirements=row["requirements"],
        models=tuple(f"{model['model']}:{model['model_version']}" for model in models),
        tags=tags.read(connection, "image_tags", key),
    )
