"""Images: name + version + OCI digest of models and the script that scores them.

image = workspace.images.create("digits", models=["digits:1"], script=Path("score.py"))
workspace.images.unpack("digits", Path("bundle"))
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry import names, tags, tree
from registry.blobs import BlobStore, file_chunks, full_disk_said
from registry.bundle_file import bundle_json, model_path
from registry.clock import Clock
from registry.database import Database
from registry.errors import (
    ImageFailedError,
    InvalidSourceError,
    NotFoundError,
    RegistryError,
)
from registry.folders import new_folder, write_file
from registry.layers import LAYER_TYPE, Entry, Layer, bytes_entry, read_layer, write_layer
from registry.leases import lease
from registry.models import MANIFEST_TYPE, Progress, find_version
from registry.names import Reference
from registry.paths import WorkspacePaths
from registry.records import Image, Model
from registry.source import Code, missing_functions, read_code

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
BUNDLE_TYPE = "application/vnd.inferry.bundle.v1"
REF_NAME = "org.opencontainers.image.ref.name"
Log = list[str]
Found = list[Image]
Blobs = list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Request:
    """What an image is to be made of, checked."""

    models: tuple[Model, ...]
    code: Code | None
    requirements: str | None
    requirements_file: str
    max_batch: int | None


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
        request = self._check(models, script, source, requirements, conda, max_batch)
        log = [f"models: {', '.join(model.reference for model in request.models)}"]
        if request.code is not None and script is not None:
            log += [
                f"note: {request.code.script} does not define {function}() itself"
                for function in missing_functions(Path(script))
            ]
        with full_disk_said(), lease(self._paths.leases):
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
                image, blobs = self._build(image, request, log, on_progress)
                self._record(image, request.models, blobs)
            except RegistryError as error:
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
                    for path, content in read_layer(file):
                        write_file(folder / path, file_chunks(content))
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
                        "mediaType": MANIFEST_TYPE,
                        "digest": row["digest"],
                        "size": row["size_bytes"],
                        "annotations": {REF_NAME: f"{row['name']}:{row['version']}"},
                    }
                    for row in rows
                ]
            )

    def _check(
        self,
        models: Sequence[str],
        script: Path | str | None,
        source: Path | str | None,
        requirements: Path | str | None,
        conda: Path | str | None,
        max_batch: int | None,
    ) -> Request:
        if requirements is not None and conda is not None:
            raise InvalidSourceError("give a requirements file or a conda file, not both")
        if source is not None and script is None:
            raise InvalidSourceError("a source folder needs a script to start from")
        if max_batch is not None and max_batch < 1:
            raise InvalidSourceError(f"max_batch must be at least 1, not {max_batch}")
        if not models:
            raise InvalidSourceError("an image needs a model")
        with self._database.read() as connection:
            found = {ref: find_version(connection, ref) for ref in models}
        distinct = tuple({model.reference: model for model in found.values()}.values())
        if script is None:
            _check_servable(distinct)
        code = None
        if script is not None:
            code = read_code(Path(script), None if source is None else Path(source))
        listed = requirements if conda is None else conda
        return Request(
            distinct,
            code,
            None if listed is None else _text_file(Path(listed)),
            "requirements.txt" if conda is None else "conda.yml",
            max_batch,
        )

    def _reserve(self, name: str) -> int:
        with self._database.write() as connection:
            row = connection.execute(
                "INSERT INTO images (name, next_version) VALUES (?, 2) ON CONFLICT (name)"
                " DO UPDATE SET next_version = next_version + 1 RETURNING next_version - 1",
                (name,),
            ).fetchone()
            return int(row[0])

    def _build(
        self, image: Image, request: Request, log: Log, on_progress: Progress | None
    ) -> tuple[Image, Blobs]:
        total = sum(model.size_bytes for model in request.models)
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            if on_progress is not None:
                on_progress(min(done, total), total)

        layers = [self._code_layer(image, request, on_bytes)]
        log.append(f"code layer {layers[0].digest} ({layers[0].size_bytes} bytes)")
        for model in request.models:
            layer = self._model_layer(model, on_bytes)
            log.append(f"model layer {layer.digest} ({layer.size_bytes} bytes) {model.reference}")
            layers.append(layer)
        config = self._put_json(_config(layers))
        manifest = self._put_json(_manifest(image, request, config, layers))
        log.append(f"image {image.reference} {manifest.digest}")
        blobs = {layer.digest: layer.size_bytes for layer in (*layers, config, manifest)}
        made = replace(
            image,
            state="succeeded",
            digest=manifest.digest,
            size_bytes=sum(blobs.values()),
            log="\n".join(log),
        )
        return made, list(blobs.items())

    def _code_layer(self, image: Image, request: Request, on_bytes: Callable[[int], None]) -> Layer:
        script = None if request.code is None else request.code.script
        description = bundle_json(
            image.name,
            image.version,
            request.models,
            entry_script=script,
            max_batch=request.max_batch,
        )
        entries = [bytes_entry("bundle.json", description)]
        if request.requirements is not None:
            entries.append(bytes_entry(request.requirements_file, request.requirements.encode()))
        for file in request.code.files if request.code is not None else ():
            path = f"code/{file.path}"
            entries.append(Entry(path, file.size_bytes, file.open, file.is_executable))
        try:
            return write_layer(self._store, entries, on_bytes)
        except OSError as error:
            if error.errno is not None:
                raise
            raise InvalidSourceError("the source changed while it was read; try again") from error

    def _model_layer(self, model: Model, on_bytes: Callable[[int], None]) -> Layer:
        """The model's own layer: deterministic, so all its images share one blob."""
        entries = [
            Entry(
                f"{model_path(model)}/{file.path}",
                file.size_bytes,
                lambda digest=file.digest: self._store.open(digest),  # type: ignore[misc]
            )
            for file in model.files
        ]
        return write_layer(self._store, entries, on_bytes)

    def _put_json(self, document: Mapping[str, Any]) -> Layer:
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return Layer(*self._store.put([data]))

    def _record(self, image: Image, models: Sequence[Model], blobs: Blobs) -> None:
        key = (image.name, image.version)
        with self._database.write() as connection:
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

    def _record_failure(self, image: Image, log: Sequence[str], error: RegistryError) -> None:
        """Best effort: on a full disk there may be no room for the record either."""
        failed = replace(image, log="\n".join([*log, f"failed: {error}"]), cause=str(error))
        with suppress(RegistryError):
            self._record(failed, (), [])


def _check_servable(models: Sequence[Model]) -> None:
    if len(models) != 1:
        raise InvalidSourceError(f"an image of {len(models)} models needs a script: --script")
    if models[0].entry is None:
        raise InvalidSourceError(
            f"model {models[0].reference} has not just one .onnx file, so its image needs a script:"
            " --script score.py"
        )


def _text_file(path: Path) -> str:
    [file] = tree.walk(path) if not path.is_dir() else [None]
    if file is None:
        raise InvalidSourceError(f"'{path}' is a folder, not a file")
    with file.open() as opened:
        try:
            return opened.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidSourceError(f"'{path}' is no UTF-8 text") from error


def _config(layers: Sequence[Layer]) -> dict[str, Any]:
    """No time in it: equal inputs give equal digests."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }


def _manifest(
    image: Image, request: Request, config: Layer, layers: Sequence[Layer]
) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": BUNDLE_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": config.digest, "size": config.size_bytes},
        "layers": [
            {"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size_bytes}
            for layer in layers
        ],
        "annotations": {
            "dev.inferry.name": image.name,
            "dev.inferry.version": str(image.version),
            "dev.inferry.models": ",".join(f"{m.reference}@{m.digest}" for m in request.models),
        },
    }


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
