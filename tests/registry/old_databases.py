"""Databases as older versions of Inferry left them: made from the same scripts, which never change,
with rows in every table that the version had."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import registry.database
from registry.database import MIGRATIONS

Row = tuple[str, Mapping[str, object]]
DIGEST = "sha256:" + "0" * 64
FROZEN = {
    "schema.sql": "1e6b8dcaea9d1b1e5c049a9cd61dedb6a6e7c58f6b44e30529beb759396d7459",
    "layers.sql": "b296f71a6552a68ba03ac19123b65ba069d2eaacdabbe55be4411fb4053f8bac",
    "builds.sql": "4a73d9344d3077cb6198728ae0931a24b04e8a13fea0ce992cbe347371b177c8",
    "activities.sql": "d9b5c640cfc24043eaf07f60f84d7c45991f7dae1f30e17b21532926cb6e6e83",
    "distribution.sql": "d9bd9d25fa7cf6a7f9e8afea930e725a39344d0c58470c8aaad9d8e1d9623f3f",
    "deployments.sql": "20668b09410194b7a3ceb5dd876e20a58a74b79d245fc08dce84c2eaf43d3348",
    "datastores.sql": "0ead991fb1ac5bfb48fed5803aaa2521ee3bd4241efdcfb2f7e9ade30438587a",
    "tracking.sql": "53a380f95d2702d8f9d3d59f13d9a4dec810e31261815f66e874204a1ee18e87",
}
"""The SHA-256 of scripts that were given out."""
_IMAGE = {"name": "web", "version": 1}
ROWS: Mapping[str, Sequence[Row]] = {
    "schema.sql": [
        ("models", {"name": "digits", "next_version": 2}),
        ("model_versions", {"name": "digits", "version": 1, "description": "d", "digest": DIGEST,
                            "created_at": "2026-01-01T00:00:00Z", "size_bytes": 3}),
        ("model_files", {"name": "digits", "version": 1, "path": "a.txt", "size_bytes": 3,
                         "digest": DIGEST}),
        ("model_tags", {"name": "digits", "version": 1, "key": "task", "value": "x"}),
        ("model_properties", {"name": "digits", "version": 1, "key": "epochs", "value": "3"}),
        ("images", {"name": "web", "next_version": 2}),
        ("image_versions", {**_IMAGE, "state": "succeeded", "description": "", "digest": DIGEST,
                            "created_at": "2026-01-02T00:00:00Z", "size_bytes": 9, "log": "made",
                            "engine": "worker"}),
        ("image_models", {**_IMAGE, "model": "digits", "model_version": 1}),
        ("image_blobs", {**_IMAGE, "digest": DIGEST, "size_bytes": 9}),
        ("image_tags", {**_IMAGE, "key": "stage", "value": "test"}),
    ],
    "layers.sql": [
        ("model_layers", {"name": "digits", "version": 1, "digest": DIGEST, "size_bytes": 9}),
    ],
    "builds.sql": [
        ("settings", {"key": "base", "value": "none"}),
        ("base_images", {"reference": "python", "platform": "linux/amd64", "document": "{}"}),
        ("locks", {"key": "k", "document": "{}", "created_at": "2026-01-01T00:00:00Z"}),
        ("built_layers", {"key": "k", "digest": DIGEST, "size_bytes": 9, "diff_id": DIGEST,
                          "media_type": "x", "checksum": "y"}),
        ("server_imports", {"server": "s", "modules": "[]"}),
        ("image_users", {**_IMAGE, "user": "live"}),
        ("image_details", {**_IMAGE, "document": "{}"}),
    ],
    "activities.sql": [
        ("activities", {"id": "20260101T000000-aaaaaa", "kind": "push", "subject": "web:1",
                        "state": "succeeded", "started_at": "2026-01-01T00:00:00Z",
                        "ended_at": "2026-01-01T00:01:00Z"}),
    ],
    "distribution.sql": [
        ("manifests", {"repository": "r", "digest": DIGEST, "media_type": "m", "size_bytes": 9,
                       "annotations": "{}", "is_pushed": 1, "is_recorded": 0}),
        ("manifest_blobs", {"repository": "r", "manifest": DIGEST, "digest": DIGEST,
                            "size_bytes": 9}),
        ("manifest_tags", {"repository": "r", "tag": "latest", "digest": DIGEST}),
        ("held_blobs", {"repository": "r", "digest": DIGEST, "size_bytes": 9,
                        "expires_at": 4e9}),
        ("blob_uploads", {"id": "u", "repository": "r", "expires_at": 4e9}),
        ("tokens", {"id": 1, "name": "ci", "access": "write", "sha256": "ab", "created_at": 1.0}),
        ("tokens", {"id": 2, "name": "node", "access": "read", "sha256": "cd", "created_at": 1.0}),
    ],
    "deployments.sql": [
        ("targets", {"name": "gpu", "kind": "docker", "settings": "{}",
                     "attached_at": "2026-01-01T00:00:00Z"}),
        ("deployments", {"name": "live", "target": "local", "service": "{}", "goal": 1,
                         "created_at": "2026-01-01T00:00:00Z"}),
        ("deployment_revisions", {"deployment": "live", "revision": 1, "image": "web",
                                  "image_version": 1, "digest": DIGEST, "settings": "{}",
                                  "made_at": "2026-01-01T00:00:00Z", "made_by": "ada"}),
        ("deployment_traffic", {"deployment": "live", "revision": 1, "percent": 100.0}),
        ("deployment_secrets", {"deployment": "live", "name": "s", "sealed": b"sealed",
                                "set_at": "2026-01-01T00:00:00Z"}),
        ("deployment_keys", {"deployment": "live", "slot": "primary", "sealed": b"sealed",
                             "made_at": "2026-01-01T00:00:00Z"}),
        ("deployment_state", {"deployment": "live", "state": "healthy", "change": 1,
                              "replicas": "[]", "seen_at": "2026-01-01T00:00:00Z",
                              "memory": "{}"}),
        ("deployment_ledger", {"id": 1, "at": "2026-01-01T00:00:00Z", "deployment": "live",
                               "actor": "ada", "event": "created", "detail": "{}"}),
    ],
    "datastores.sql": [
        ("datastores", {"name": "photos", "kind": "s3", "settings": "{}", "is_default": 0,
                        "attached_at": "2026-01-01T00:00:00Z"}),
        ("datastore_secrets", {"datastore": "photos", "name": "key", "sealed": b"sealed",
                               "set_at": "2026-01-01T00:00:00Z"}),
    ],
    "tracking.sql": [
        ("experiments", {"id": 1, "name": "train", "created_ms": 1, "updated_ms": 1}),
        ("experiment_tags", {"experiment": 1, "key": "k", "value": "v"}),
        ("environments", {"digest": DIGEST, "document": "{}"}),
        ("runs", {"key": 1, "id": "a" * 32, "experiment": 1, "number": 1, "name": "r",
                  "status": "finished", "user": "ada", "source": "train.py",
                  "environment": DIGEST, "started_ms": 1}),
        ("run_params", {"run": 1, "key": "lr", "value": "0.1"}),
        ("run_tags", {"run": 1, "key": "k", "value": "v"}),
        ("run_properties", {"run": 1, "key": "p", "value": "v"}),
        ("run_metrics", {"run": 1, "key": "loss", "metric": 1, "count": 1, "value": 0.5, "step": 0,
                         "at_ms": 1, "min": 0.5, "max": 0.5}),
        ("metric_points", {"run": 1, "metric": 1, "seq": 0, "value": 0.5, "step": 0, "at_ms": 1}),
        ("metric_blocks", {"run": 1, "metric": 1, "block": 0, "count": 1, "step": 0, "at_ms": 1}),
        ("run_values", {"run": 1, "key": "t", "seq": 0, "kind": "table", "at_ms": 1,
                        "document": "{}"}),
        ("run_files", {"run": 1, "path": "a.txt", "size_bytes": 3, "digest": DIGEST, "at_ms": 1}),
        ("model_runs", {"name": "digits", "version": 1, "run": 1}),
    ],
}  # fmt: skip
"""What each script's tables get once it was applied."""
KNOWN = len(ROWS)
"""How many scripts there are rows for: those of versions that people may have."""


def write_old(path: Path, version: int) -> list[Row]:
    """The database ``path`` as the version ``version`` left it; returns its rows."""
    rows = [row for name in MIGRATIONS[:version] for row in ROWS.get(name, ())]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN")
        for name in MIGRATIONS[:version]:
            for statement in script(name).split(";\n"):
                connection.execute(statement)
        for table, row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
            )
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    return rows


def missing(path: Path, rows: Sequence[Row]) -> list[Row]:
    """Those that are not in the database any more as they were."""
    gone = []
    with closing(sqlite3.connect(path)) as connection:
        for table, row in rows:
            where = " AND ".join(f"{column} = ?" for column in row)
            [count] = connection.execute(
                f"SELECT count(*) FROM {table} WHERE {where}", tuple(row.values())
            ).fetchone()
            if count != 1:
                gone.append((table, row))
    return gone


def script(name: str) -> str:
    """The text of a migration."""
    return Path(registry.database.__file__).with_name(name).read_text()
