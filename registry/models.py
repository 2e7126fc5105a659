"""Models: name + version + files that never change.

model = workspace.models.register(Path("model.onnx"), name="digits", tags={"task": "digits"})
workspace.models.get("digits").signature
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from registry import aliases, media_types, names, onnx_file, tags, tree
from registry.blobs import BlobStore, file_chunks
from registry.bundle_file import write_model_bundle
from registry.clock import Clock
from registry.database import Database
from registry.errors import (
    DamagedBlobError,
    ImmutableError,
    InUseError,
    InvalidSourceError,
    NotFoundError,
    WorkspaceDamagedError,
)
from registry.folders import added_files, new_folder, write_file
from registry.formats import FormatReport, check_formats
from registry.model_origins import Origin
from registry.names import Reference
from registry.pages import MAX_LIMIT, Page, Window
from registry.paths import WorkspacePaths
from registry.publishing import publishing
from registry.records import Model, Signature, StoredFile
from registry.settings import Settings
from registry.tracking import run_rows
from registry.tree import SourceFile, shown
from registry.version_lists import MODELS, Sought, VersionLists, sought

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""
Found = list[Model]
PICKLE = "inferry.pickle"
"""The property of a model that has files which can run code: which, and what they are."""


class Models:
    """The models of one workspace."""

    def __init__(
        self, paths: WorkspacePaths, database: Database, store: BlobStore, clock: Clock
    ) -> None:
        self._paths = paths
        self._database = database
        self._store = store
        self._clock = clock
        self._lists = VersionLists(database, MODELS, _model, size_of_model)

    def register(
        self,
        path: Path | str,
        *,
        name: str,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        run: str | None = None,
        allow_pickle: bool = False,
        on_progress: Progress | None = None,
    ) -> Model:
        """Store the file or folder ``path`` as the next version of ``name``. ``run`` is the id of
        the run that made it, which then cannot be removed for good while the model is there.
        ``allow_pickle``: files that can run code when they are opened are taken, and the model says
        so in the property PICKLE; without it they are refused (registry/formats), unless the
        workspace allows them.

        Nothing is recorded before all of it is stored, so a failure leaves nothing, and a crash no
        half model, only blobs that purge frees. Raises InvalidNameError, InvalidSourceError,
        StoreFullError."""
        checked = _checked(name, tags, properties, description)
        files = tree.walk(Path(path))
        self._check_formats(files, allow_pickle)  # before gigabytes are copied
        with publishing(self._paths, self._database, self._store) as store:
            stored = _store_files(store, files, on_progress)
            return self._record(store, checked, stored, run, None, allow_pickle)

    def register_stored(
        self,
        files: Sequence[StoredFile],
        *,
        name: str,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        run: str | None = None,
        origin: Origin | None = None,
        allow_pickle: bool = False,
    ) -> Model:
        """As ``register``, of files that the workspace's store has already, such as a run's: no
        byte is copied, and each is verified. Raises DamagedBlobError, too."""
        checked = _checked(name, tags, properties, description)
        if not files:
            raise InvalidSourceError("a model has at least one file")
        with publishing(self._paths, self._database, self._store) as store:
            for digest in {file.digest for file in files}:
                if not store.renew(digest):
                    raise DamagedBlobError(digest)
            stored = tuple(sorted(files, key=lambda file: file.path))
            return self._record(store, checked, stored, run, origin, allow_pickle)

    def _record(
        self,
        store: BlobStore,
        new: _New,
        stored: tuple[StoredFile, ...],
        run: str | None,
        origin: Origin | None,
        allow_pickle: bool,
    ) -> Model:
        """Files that are in the store, as the next version."""
        blobs = [(file.path, self._paths.blob(file.digest)) for file in stored]
        new = _with_code(new, self._check_formats(blobs, allow_pickle))
        signature, entry = self._read_onnx(stored)
        digest = _store_manifest(store, stored)
        with self._database.write() as connection:
            version = _next_version(connection, new.name)
            model = Model(
                new.name,
                version,
                new.description,
                self._clock(),
                digest,
                sum(file.size_bytes for file in stored),
                new.tags,
                new.properties,
                stored,
                signature,
                entry,
            )
            check_stored(store)
            _insert(connection, model)
            if run is not None:
                run_rows.link_model(connection, run, new.name, version)
            if origin is not None:
                origin.insert(connection, new.name, version)
        return model

    def chunks(self, ref: str, path: str) -> tuple[StoredFile, Iterator[bytes]]:
        """One file of a model, piece by piece; a damaged one raises DamagedBlobError at its end.
        Raises NotFoundError."""
        for file in self.get(ref).files:
            if file.path == path:
                return file, self._store.chunks(file.digest)
        raise NotFoundError(f"the model {ref} has no file {path!a}")

    def list(
        self,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        latest: bool = False,
        limit: int | None = None,
    ) -> Found:
        """Models by name, then version; only those that match every tag (``key`` or ``key=value``);
        with ``latest`` only each name's newest match. The first ``limit`` of them."""
        return self._lists.all(sought(MODELS, name, tags, latest), limit)

    def page(
        self,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        latest: bool = False,
        limit: int = MAX_LIMIT,
        token: str | None = None,
    ) -> Page[Model]:
        """As ``list``, page by page: ``token`` is of the page before. Raises InvalidNameError."""
        return self._lists.page(sought(MODELS, name, tags, latest), limit, token)

    def window(self, *, part: str = "", offset: int = 0, limit: int = MAX_LIMIT) -> Window[Model]:
        """The newest version of each name with this ``part``, from number ``offset`` on."""
        return self._lists.window(Sought(part=part.lower(), is_latest=True), offset, limit)

    def get(self, ref: str) -> Model:
        """The model ``name:version``, the one that ``name@alias`` means, or the latest version of
        ``name``. Raises NotFoundError."""
        with self._database.read() as connection:
            return _model(connection, _find(connection, names.parse_reference(ref)))

    def tag(
        self, ref: str, *, set: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> Model:
        """Set and remove tags. Removing one that is not there does nothing."""
        added = names.check_pairs(set or {}, "tag")
        for key in remove:
            names.check_name(key, "tag")
        with self._database.write() as connection:
            row = _find(connection, names.parse_reference(ref))
            tags.change(connection, "model_tags", (row["name"], row["version"]), added, remove)
            return _model(connection, row)

    def describe(self, ref: str, description: str) -> Model:
        """Replace the description."""
        names.check_text(description, "the description")
        with self._database.write() as connection:
            row = _find(connection, names.parse_reference(ref))
            connection.execute(
                "UPDATE model_versions SET description = ? WHERE name = ? AND version = ?",
                (description, row["name"], row["version"]),
            )
            return _model(connection, _find(connection, Reference(row["name"], row["version"])))

    def add_properties(self, ref: str, properties: Mapping[str, str]) -> Model:
        """Add properties. Raises ImmutableError when one is there with another value."""
        added = names.check_pairs(properties, "property")
        with self._database.write() as connection:
            row = _find(connection, names.parse_reference(ref))
            key = (row["name"], row["version"])
            there = tags.read(connection, "model_properties", key)
            for name, value in added.items():
                if there.get(name, value) != value:
                    raise ImmutableError(
                        f"property '{name}' of model {key[0]}:{key[1]} is '{there[name]}' and"
                        " cannot change; use a tag for what changes"
                    )
            tags.change(connection, "model_properties", key, added, ())
            return _model(connection, row)

    def download(self, ref: str, target: Path | str, *, force: bool = False) -> Path:
        """Write the model's files, bit for bit, below the folder ``target``; returns it.

        Raises TargetExistsError for a file that is there (unless ``force``), DamagedBlobError; then
        nothing is written."""
        model = self.get(ref)
        paths = [file.path for file in model.files]
        with added_files(Path(target), paths, force=force) as folder:
            for file in model.files:
                write_file(folder / file.path, self._store.chunks(file.digest))
        return Path(target)

    def bundle(self, ref: str, target: Path | str) -> Path:
        """Write the model, which has no script, as the new bundle folder ``target``.

        Raises InvalidSourceError when it has not just one .onnx file."""
        model = self.get(ref)
        if model.entry is None:
            raise InvalidSourceError(
                f"model {model.reference} has not just one .onnx file; serve it with a script:"
                " inferry image create NAME --model ... --script score.py"
            )
        with new_folder(Path(target)) as folder:
            for file in model.files:
                path = folder / "models" / model.name / str(model.version) / file.path
                write_file(path, self._store.chunks(file.digest))
            write_model_bundle(folder, model)
        return Path(target)

    def delete(self, ref: str) -> Model:
        """Delete one version; its number is never used again. Raises InUseError."""
        with self._database.write() as connection:
            reference = aliases.resolved(connection, names.parse_reference(ref))
            if reference.version is None:
                reference = _only_version(connection, reference)
            model = _model(connection, _find(connection, reference))
            key = (model.name, model.version)
            users = connection.execute(
                "SELECT name, version FROM image_models WHERE model = ? AND model_version = ?"
                " ORDER BY name, version",
                key,
            ).fetchall()
            if users:
                who = [f"{row['name']}:{row['version']}" for row in users]
                raise InUseError(f"model {model.reference}", who)
            meant = connection.execute(
                "SELECT alias FROM model_aliases WHERE model = ? AND version = ? ORDER BY alias",
                key,
            ).fetchall()
            if meant:
                who = [row["alias"] for row in meant]
                raise InUseError(f"model {model.reference}", who, "alias")
            connection.execute("DELETE FROM model_versions WHERE name = ? AND version = ?", key)
        return model

    def _check_formats(
        self, files: Iterable[SourceFile | tuple[str, Path]], allow_pickle: bool
    ) -> FormatReport:
        policy = Settings(self._database).formats
        return check_formats(
            files,
            allow_pickle=allow_pickle or policy.allows_pickle,
            refuse_unknown=not policy.allows_unknown,
        )

    def _read_onnx(self, files: Sequence[StoredFile]) -> tuple[Signature | None, str | None]:
        """Checks every .onnx file; the signature and path of the only one."""
        siblings = {file.path for file in files}
        found = {
            file.path: onnx_file.read_signature(self._paths.blob(file.digest), file.path, siblings)
            for file in files
            if file.path.endswith(".onnx")
        }
        if len(found) != 1:
            return None, None
        [(path, signature)] = found.items()
        return signature, path


@dataclass(frozen=True, slots=True)
class _New:
    """What was checked of a version that is to be made."""

    name: str
    tags: Mapping[str, str]
    properties: Mapping[str, str]
    description: str


def _with_code(new: _New, report: FormatReport) -> _New:
    if not report.code:
        return new
    said = "; ".join(f"{shown(path)}: {why}" for path, why in report.code)
    said = said if len(said) <= names.MAX_VALUE_CHARS else f"{said[: names.MAX_VALUE_CHARS - 3]}..."
    return replace(new, properties={**new.properties, PICKLE: said})


def _checked(
    name: str,
    tags: Mapping[str, str] | None,
    properties: Mapping[str, str] | None,
    description: str,
) -> _New:
    return _New(
        names.check_name(name, "model name"),
        names.check_pairs(tags or {}, "tag"),
        names.check_pairs(properties or {}, "property"),
        names.check_text(description, "the description"),
    )


def _store_files(
    store: BlobStore, files: Sequence[tree.SourceFile], on_progress: Progress | None
) -> tuple[StoredFile, ...]:
    total, done = sum(file.size_bytes for file in files), 0
    stored = []
    for source in files:
        with store.writer() as (write, finish):
            with source.open() as opened:
                for chunk in file_chunks(opened):
                    write(chunk)
                    done += len(chunk)
                    if on_progress is not None:
                        on_progress(min(done, total), total)
            digest, size = finish()
        stored.append(StoredFile(source.path, size, digest))
    return tuple(stored)


def _store_manifest(store: BlobStore, files: Sequence[StoredFile]) -> str:
    """An OCI artifact manifest: its digest stands for all paths and bytes."""
    empty, size = store.put([b"{}"])
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": media_types.MODEL,
        "config": {"mediaType": media_types.EMPTY, "digest": empty, "size": size},
        "layers": [
            {
                "mediaType": media_types.MODEL_FILE,
                "digest": file.digest,
                "size": file.size_bytes,
                "annotations": {"org.opencontainers.image.title": file.path},
            }
            for file in files
        ],
    }
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    return store.put([data])[0]


def check_stored(store: BlobStore) -> None:
    """Within the transaction that records what ``store`` published: it is still there. Only a clock
    that was set back can make purge think otherwise."""
    if not all(store.has(digest) for digest in store.published):
        raise WorkspaceDamagedError("a stored file was purged before it was recorded; try again")


def _next_version(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute(
        "INSERT INTO models (name, next_version) VALUES (?, 2) ON CONFLICT (name)"
        " DO UPDATE SET next_version = next_version + 1 RETURNING next_version - 1",
        (name,),
    ).fetchone()
    return int(row[0])


def _insert(connection: sqlite3.Connection, model: Model) -> None:
    key = (model.name, model.version)
    signature = None if model.signature is None else msgspec.json.encode(model.signature).decode()
    connection.execute(
        "INSERT INTO model_versions"
        " (name, version, description, created_at, digest, size_bytes, entry, signature)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *key,
            model.description,
            model.created_at,
            model.digest,
            model.size_bytes,
            model.entry,
            signature,
        ),
    )
    connection.executemany(
        "INSERT INTO model_files (name, version, path, size_bytes, digest) VALUES (?, ?, ?, ?, ?)",
        [(*key, file.path, file.size_bytes, file.digest) for file in model.files],
    )
    tags.change(connection, "model_tags", key, model.tags, ())
    tags.change(connection, "model_properties", key, model.properties, ())


def _find(connection: sqlite3.Connection, reference: Reference) -> sqlite3.Row:
    reference = aliases.resolved(connection, reference)
    row = connection.execute(
        "SELECT * FROM model_versions WHERE name = ?1 AND (?2 IS NULL OR version = ?2)"
        " ORDER BY version DESC LIMIT 1",
        (reference.name, reference.version),
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no model {reference}; see inferry model list")
    assert isinstance(row, sqlite3.Row)
    return row


def _only_version(connection: sqlite3.Connection, reference: Reference) -> Reference:
    """Deleting "the latest" of several is too easily a mistake: the version must be named then."""
    rows = connection.execute(
        "SELECT version FROM model_versions WHERE name = ?", (reference.name,)
    ).fetchall()
    if len(rows) > 1:
        raise NotFoundError(
            f"model {reference} has {len(rows)} versions; say which one, such as"
            f" {reference.name}:{rows[0][0]}"
        )
    return reference


def _model(connection: sqlite3.Connection, row: sqlite3.Row) -> Model:
    key = (row["name"], row["version"])
    files = connection.execute(
        "SELECT path, size_bytes, digest FROM model_files WHERE name = ? AND version = ?"
        " ORDER BY path",
        key,
    ).fetchall()
    signature = row["signature"]
    return Model(
        *key,
        description=row["description"],
        created_at=row["created_at"],
        digest=row["digest"],
        size_bytes=row["size_bytes"],
        tags=tags.read(connection, "model_tags", key),
        properties=tags.read(connection, "model_properties", key),
        files=tuple(StoredFile(*file) for file in files),
        signature=None if signature is None else msgspec.json.decode(signature, type=Signature),
        entry=row["entry"],
    )


def size_of_model(model: Model) -> int:
    """About, as a document."""
    return 1000 + 200 * len(model.files)


def find_version(connection: sqlite3.Connection, ref: str) -> Model:
    """The model that ``ref`` names, within a transaction. Raises NotFoundError."""
    return _model(connection, _find(connection, names.parse_reference(ref)))
