"""Compute targets: places that run deployments, or scripts, or both. ``local`` is always there."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from registry import names
from registry.clock import Clock
from registry.database import Database
from registry.deployments.settings import check_deployment_name
from registry.errors import InUseError, InvalidNameError, NotFoundError, TargetExistsError

Kind = Literal["local", "docker", "fpga", "edge", "ssh", "spark"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LOCAL: Kind = "local"
FOR_SCRIPTS: frozenset[Kind] = frozenset(("ssh", "spark"))
"""Kinds that run no deployments. They have a table of their own, which no deployment can name."""
SETTINGS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "local": {},
    "docker": {
        # Of the engine; folder of TLS files for tcp://; file for ssh://; where replicas answer.
        "url": re.compile(r"(?:unix:///|ssh://|tcp://)[\x21-\x7e]{1,500}"),
        "tls": re.compile(r"/[^\0\n]{0,4000}"),
        "ssh_config": re.compile(r"/[^\0\n]{0,4000}"),
        "address": re.compile(r"[0-9A-Za-z.:-]{1,255}"),
        "insecure": re.compile(r"true|false"),
    },
    "fpga": {
        "board": re.compile(
            r"auto|local|(simulated|emulated)(:[A-Za-z0-9._-]{1,40})?"
            r"|remote:[0-9A-Za-z.:\[\]-]{1,255}"
        ),
        "python": re.compile(r"/[^\0\n]{0,4000}"),
    },
    "edge": {
        "condition": re.compile(r"[^\0\n]{1,1000}"),
        # Where modules answer on their device; none: the device finds a port of its loopback.
        "port": re.compile(r"[1-9][0-9]{0,4}"),
        "address": re.compile(r"[0-9A-Fa-f.:]{1,45}"),
    },
    "ssh": {
        "host": re.compile(r"[0-9A-Za-z.:-]{1,255}"),
        "port": re.compile(r"[1-9][0-9]{0,4}"),
        "user": re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}"),
        # Of the server: "type base64", or its fingerprint; file of this machine's user.
        "host_key": re.compile(
            r"[A-Za-z0-9@.-]{1,60} [A-Za-z0-9+/=]{1,4000}|SHA256:[A-Za-z0-9+/=]{1,64}"
        ),
        "key": re.compile(r"/[^\0\n]{0,4000}"),
        "python": re.compile(r"[A-Za-z0-9_./~+-]{1,400}"),
        "path": re.compile(r"(?:~/|/)?[A-Za-z0-9_.][A-Za-z0-9_./-]{0,400}"),
    },
    "spark": {
        "master": re.compile(r"[\x21-\x7e]{1,500}"),
        "spark_submit": re.compile(r"/[^\0\n]{0,4000}"),
        "python": re.compile(r"/[^\0\n]{0,4000}"),
    },
}
"""What can be set for each kind, and how it looks. runtime/ says what it means."""
NEEDED: Mapping[str, tuple[str, ...]] = {"edge": ("condition",), "ssh": ("host", "user")}
_BOTH = "(SELECT * FROM targets UNION ALL SELECT * FROM run_targets)"


@dataclass(frozen=True, slots=True)
class Target:
    """A place. ``users``: the deployments that are there."""

    name: str
    kind: Kind
    settings: Mapping[str, str]
    attached_at: str
    users: tuple[str, ...] = ()


class Targets:
    """The targets of one workspace."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def attach(self, name: str, kind: str, settings: Mapping[str, str] | None = None) -> Target:
        """Make it known; whether it can be reached is runtime's to find out. Raises
        InvalidNameError, TargetExistsError."""
        made = self.checked(name, kind, settings)
        try:
            with self._database.write() as connection:
                if _row(connection, name) is not None:
                    raise _taken(name)
                table = _table(made.kind)
                connection.execute(
                    f"INSERT INTO {table} VALUES (?, ?, ?, ?)",
                    (name, kind, json.dumps(made.settings, sort_keys=True), made.attached_at),
                )
                return _found(connection, name)
        except sqlite3.IntegrityError as error:
            raise _taken(name) from error

    def checked(self, name: str, kind: str, settings: Mapping[str, str] | None = None) -> Target:
        """What ``attach`` would make known, for whoever tries it first. Raises InvalidNameError."""
        check_deployment_name(name, "target name")
        return Target(name, *_checked(kind, settings or {}), self._clock())

    def list(self) -> list[Target]:
        """By name."""
        with self._database.read() as connection:
            rows = connection.execute(f"SELECT name FROM {_BOTH} ORDER BY name").fetchall()
            return [_found(connection, row["name"]) for row in rows]

    def get(self, name: str) -> Target:
        """Raises NotFoundError."""
        names.check_name(name, "target name")
        with self._database.read() as connection:
            return _found(connection, name)

    def detach(self, name: str) -> Target:
        """Forget it. Raises NotFoundError, InUseError, InvalidNameError for ``local``."""
        if name == LOCAL:
            raise InvalidNameError("the target 'local' is this machine and always there")
        with self._database.write() as connection:
            target = _found(connection, name)
            if target.users:
                raise InUseError(f"target {name}", target.users, "deployment")
            connection.execute(f"DELETE FROM {_table(target.kind)} WHERE name = ?", (name,))
        return target


def _table(kind: Kind) -> str:
    return "run_targets" if kind in FOR_SCRIPTS else "targets"


def _row(connection: sqlite3.Connection, name: str) -> sqlite3.Row | None:
    row = connection.execute(f"SELECT * FROM {_BOTH} WHERE name = ?", (name,)).fetchone()
    assert row is None or isinstance(row, sqlite3.Row)
    return row


def _taken(name: str) -> TargetExistsError:
    return TargetExistsError(
        f"there is a target '{name}' already; detach it first, or take another name"
    )


def _found(connection: sqlite3.Connection, name: str) -> Target:
    row = _row(connection, name)
    if row is None:
        raise NotFoundError(f"there is no target '{name}'; see inferry target list")
    users = connection.execute(
        "SELECT name FROM deployments WHERE target = ? ORDER BY name", (name,)
    ).fetchall()
    return Target(
        row["name"],
        row["kind"],
        json.loads(row["settings"]),
        row["attached_at"],
        tuple(user["name"] for user in users),
    )


def _checked(kind: str, settings: Mapping[str, str]) -> tuple[Kind, dict[str, str]]:
    found = next((each for each in KINDS if each == kind), LOCAL)
    if found == LOCAL:
        kinds = ", ".join(each for each in KINDS if each != LOCAL)
        raise InvalidNameError(f"{ascii(kind)[:40]} is no kind of target; there are {kinds}")
    allowed = SETTINGS[kind]
    for key, value in settings.items():
        if key not in allowed:
            raise InvalidNameError(
                f"a target of kind {kind} has no setting {ascii(key)[:40]};"
                f" there are {', '.join(allowed)}"
            )
        if not isinstance(value, str) or not allowed[key].fullmatch(value):
            raise InvalidNameError(f"the setting {key} cannot be {ascii(value)[:80]}")
    for key in NEEDED.get(kind, ()):
        if key not in settings:
            raise InvalidNameError(f"a target of kind {kind} needs the setting {key}")
    return found, dict(settings)
