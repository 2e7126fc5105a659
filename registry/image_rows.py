"""Images as rows: how a record is written to and read from the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from registry import tags
from registry.errors import NotFoundError
from registry.names import Reference
from registry.records import Image, ImageDetails, Model


def reserve_version(connection: sqlite3.Connection, name: str) -> int:
    """The next version of ``name``, which nobody else gets."""
    row = connection.execute(
        "INSERT INTO images (name, next_version) VALUES (?, 2) ON CONFLICT (name)"
        " DO UPDATE SET next_version = next_version + 1 RETURNING next_version - 1",
        (name,),
    ).fetchone()
    return int(row[0])


def insert(
    connection: sqlite3.Connection,
    image: Image,
    models: Sequence[Model],
    blobs: Mapping[str, int],
) -> None:
    """Write the record; ``blobs`` is the size of each blob that it keeps from purge. Raises
    NotFoundError when a model is gone."""
    key = (image.name, image.version)
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
        "INSERT INTO image_blobs VALUES (?, ?, ?, ?)", [(*key, *blob) for blob in blobs.items()]
    )
    connection.execute(
        "INSERT INTO image_details VALUES (?, ?, ?)",
        (*key, msgspec.json.encode(image.details).decode()),
    )
    tags.change(connection, "image_tags", key, image.tags, ())


def find(connection: sqlite3.Connection, reference: Reference) -> sqlite3.Row:
    """The row of ``name:version``, or of the latest version. Raises NotFoundError."""
    row = connection.execute(
        "SELECT * FROM image_versions WHERE name = ?1 AND (?2 IS NULL OR version = ?2)"
        " ORDER BY version DESC LIMIT 1",
        (reference.name, reference.version),
    ).fetchone()
    if row is None:
        raise NotFoundError(f"there is no image {reference}; see inferry image list")
    assert isinstance(row, sqlite3.Row)
    return row


def find_only(connection: sqlite3.Connection, reference: Reference) -> sqlite3.Row:
    """The row to delete: of a name with several versions, the version must be said."""
    rows = connection.execute(
        "SELECT version FROM image_versions WHERE name = ?", (reference.name,)
    ).fetchall()
    if reference.version is None and len(rows) > 1:
        raise NotFoundError(
            f"image {reference} has {len(rows)} versions; say which one, such as"
            f" {reference.name}:{rows[0][0]}"
        )
    return find(connection, reference)


def read(connection: sqlite3.Connection, row: sqlite3.Row) -> Image:
    """The record that ``row`` begins."""
    key = (row["name"], row["version"])
    models = connection.execute(
        "SELECT model, model_version FROM image_models WHERE name = ? AND version = ?"
        " ORDER BY model, model_version",
        key,
    ).fetchall()
    users = connection.execute(
        "SELECT user FROM image_users WHERE name = ? AND version = ? ORDER BY user", key
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
        details=_details(connection, key),
        users=tuple(user["user"] for user in users),
    )


def _details(connection: sqlite3.Connection, key: tuple[str, int]) -> ImageDetails:
    """Of an image of an older version there are none."""
    row = connection.execute(
        "SELECT document FROM image_details WHERE name = ? AND version = ?", key
    ).fetchone()
    return ImageDetails() if row is None else msgspec.json.decode(row[0], type=ImageDetails)
