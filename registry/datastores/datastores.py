"""The datastores of a workspace: names, settings and sealed secrets. Whether one can be reached is
runtime's to find out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from registry.clock import Clock
from registry.database import Database
from registry.datastores.records import Datastore
from registry.datastores.settings import (
    WORKSPACE,
    check_kind,
    check_name,
    check_secrets,
    check_settings,
)
from registry.deployments.sealing import Seal
from registry.errors import InUseError, InvalidNameError, NotFoundError, TargetExistsError
from registry.paths import WorkspacePaths


class Datastores:
    """Of one workspace. ``workspace`` is always there, and the default until another is."""

    def __init__(self, paths: WorkspacePaths, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seal = Seal(paths.keys)

    def check(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
    ) -> Datastore:
        """What ``attach`` would make of these, before anything is tried or written. Raises
        InvalidNameError."""
        check_name(name)
        if name == WORKSPACE:
            raise InvalidNameError("the datastore 'workspace' is a folder in it, and always there")
        checked_kind = check_kind(kind)
        checked = check_settings(checked_kind, settings or {})
        check_secrets(checked_kind, checked, secrets or {})
        return Datastore(
            name, checked_kind, checked, False, self._clock(), tuple(sorted(secrets or {}))
        )

    def attach(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        *,
        replace: bool = False,
    ) -> Datastore:
        """Make it known; ``replace``: in the place of one of that name, whose secrets go. Raises
        InvalidNameError, TargetExistsError, TrustError."""
        made = self.check(name, kind, settings, secrets)
        sealed = {key: self._seal.close(value) for key, value in (secrets or {}).items()}
        with self._database.write() as connection:
            self._write(connection, made, replace=replace)
            connection.executemany(
                "INSERT INTO datastore_secrets VALUES (?, ?, ?, ?)",
                [(name, key, value, made.attached_at) for key, value in sealed.items()],
            )
            return _found(connection, name)

    def list(self) -> list[Datastore]:
        """By name."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT name FROM datastores ORDER BY name").fetchall()
            return [_found(connection, row["name"]) for row in rows]

    def get(self, name: str) -> Datastore:
        """Raises NotFoundError, InvalidNameError."""
        check_name(name)
        with self._database.read() as connection:
            return _found(connection, name)

    def get_default(self) -> Datastore:
        """The one that is meant where none is named."""
        with self._database.read() as connection:
            row = connection.execute("SELECT name FROM datastores WHERE is_default = 1").fetchone()
            return _found(connection, WORKSPACE if row is None else row["name"])

    def set_default(self, name: str) -> Datastore:
        """Make it the one that is meant where none is named. Raises NotFoundError."""
        check_name(name)
        with self._database.write() as connection:
            _found(connection, name)
            connection.execute("UPDATE datastores SET is_default = 0 WHERE is_default = 1")
            connection.execute("UPDATE datastores SET is_default = 1 WHERE name = ?", (name,))
            return _found(connection, name)

    def detach(self, name: str) -> Datastore:
        """Forget it and its secrets; its files stay where they are. Raises NotFoundError,
        InUseError, and InvalidNameError for ``workspace`` and for the default."""
        check_name(name)
        if name == WORKSPACE:
            raise InvalidNameError("the datastore 'workspace' is a folder in it, and always there")
        with self._database.write() as connection:
            gone = _found(connection, name)
            if gone.users:
                raise InUseError(f"datastore {name}", gone.users, "run")
            if gone.is_default:
                raise InvalidNameError(
                    f"the datastore '{name}' is the default; make another the default first:"
                    " inferry datastore default workspace"
                )
            connection.execute("DELETE FROM datastores WHERE name = ?", (name,))
        return gone

    def secrets(self, name: str) -> dict[str, bytes]:
        """The opened secrets. Raises TrustError."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT name, sealed FROM datastore_secrets WHERE datastore = ?", (name,)
            ).fetchall()
        return {row["name"]: self._seal.open(row["sealed"]) for row in rows}

    def _write(self, connection: sqlite3.Connection, made: Datastore, *, replace: bool) -> None:
        settings = json.dumps(made.settings, sort_keys=True)
        if replace:
            connection.execute("DELETE FROM datastore_secrets WHERE datastore = ?", (made.name,))
            changed = connection.execute(
                "UPDATE datastores SET kind = ?, settings = ?, attached_at = ? WHERE name = ?",
                (made.kind, settings, made.attached_at, made.name),
            )
            if changed.rowcount:
                return
        try:
            connection.execute(
                "INSERT INTO datastores VALUES (?, ?, ?, 0, ?)",
                (made.name, made.kind, settings, made.attached_at),
            )
        except sqlite3.IntegrityError:
            raise TargetExistsError(
                f"there is a datastore '{made.name}' already; take another name, or --replace it"
            ) from None


def _found(connection: sqlite3.Connection, name: str) -> Datastore:
    row = connection.execute("SELECT * FROM datastores WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no datastore '{name}'; see inferry datastore list")
    secrets = connection.execute(
        "SELECT name FROM datastore_secrets WHERE datastore = ? ORDER BY name", (name,)
    ).fetchall()
    return Datastore(
        row["name"],
        row["kind"],
        json.loads(row["settings"]),
        bool(row["is_default"]),
        row["attached_at"],
        tuple(each["name"] for each in secrets),
    )
