"""The deployments of a workspace: declared here, made so by runtime's controller.

Every change is one transaction that also writes the ledger and makes ``change`` grow, which is what
the controller looks for. An image that a revision names cannot be deleted.
"""

from __future__ import annotations

import math
import secrets as randomness
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from registry import image_rows, names
from registry.clock import Clock
from registry.database import Database
from registry.deployments import ledger, rows
from registry.deployments.fit import check_fit
from registry.deployments.ledger import Entry, Live
from registry.deployments.records import Deployment, Observed, Revision, Share
from registry.deployments.sealing import MAX_SECRET_BYTES, Seal
from registry.deployments.settings import (
    RevisionSettings,
    ServiceSettings,
    check_deployment_name,
    check_revision,
    check_service,
)
from registry.errors import (
    ImageFailedError,
    InUseError,
    InvalidNameError,
    NotFoundError,
    TargetExistsError,
)
from registry.pages import Page, check_limit, key_of, page_of
from registry.paths import WorkspacePaths
from registry.records import Image

Slot = Literal["primary", "secondary"]
Entries = list[Entry]
MAX_SECRETS = 64
DEPLOYMENTS = "deployments"
"""What page tokens say that they are of."""
AIMS = ("created", "updated", "rolled back")
"""Events that make a revision the goal."""


class Deployments:
    """Declarations, secrets, keys, what was seen, and the ledger."""

    def __init__(self, paths: WorkspacePaths, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seal = Seal(paths.keys)

    # What is declared.

    def create(
        self,
        name: str,
        image: str,
        *,
        actor: str,
        target: str = "local",
        service: ServiceSettings | None = None,
        settings: RevisionSettings | None = None,
        secrets: Mapping[str, bytes] | None = None,
    ) -> Deployment:
        """Declare a new one. Raises InvalidNameError, NotFoundError for image or target,
        ImageFailedError, TargetExistsError where the name is taken."""
        check_deployment_name(name)
        service = check_service(service or ServiceSettings())
        sealed = {key: self._sealed(key, value) for key, value in (secrets or {}).items()}
        settings = check_revision(settings or RevisionSettings(), sealed)
        now = self._clock()
        with self._database.write() as connection:
            check_fit(_kind_of(connection, target), service, settings)
            found = _image(connection, image)
            if connection.execute("SELECT 1 FROM deployments WHERE name = ?", (name,)).fetchone():
                raise TargetExistsError(
                    f"there is a deployment '{name}' already; change it with: inferry deployment"
                    f" update {name}, or delete it first"
                )
            connection.execute(
                "INSERT INTO deployments (name, target, service, goal, created_at)"
                " VALUES (?, ?, ?, 1, ?)",
                (name, target, _json(service), now),
            )
            connection.executemany(
                "INSERT INTO deployment_secrets VALUES (?, ?, ?, ?)",
                [(name, key, value, now) for key, value in sealed.items()],
            )
            _add_revision(connection, name, 1, found, settings, now, actor)
            for slot in get_args(Slot):
                self._renew(connection, name, slot)
            self._note(
                connection,
                name,
                actor,
                "created",
                {"image": _pinned(found), "target": target, "revision": 1},
            )
            return rows.find(connection, name)

    def update(
        self,
        name: str,
        *,
        actor: str,
        image: str | None = None,
        settings: RevisionSettings | None = None,
        service: ServiceSettings | None = None,
        shadow: float | None = None,
    ) -> Deployment:
        """Declare a new revision (for another image or settings), other service settings, or both.
        With ``shadow`` it is not the goal: it gets a copy of so many percent of the requests.
        What is the same as the goal makes no new revision; but where its image is named and it has
        not the traffic, as one that was taken back, it is the goal anew (see ``attempt``)."""
        if service is not None:
            check_service(service)
        with self._database.write() as connection:
            before = _wanted(connection, name)
            goal = before.revision(before.goal)
            found = _image(connection, goal.image if image is None else image)
            new = settings if settings is not None else goal.settings
            check_revision(new, before.secrets)
            kind = _kind_of(connection, before.target)
            check_fit(kind, service or before.service, new, has_shadow=shadow is not None)
            if (found.reference, new) != (goal.image, goal.settings):
                number = _next_revision(connection, name)
                _add_revision(connection, name, number, found, new, self._clock(), actor)
                detail = {"image": _pinned(found), "revision": number}
                if shadow is None:
                    self._aim(connection, name, number)
                    self._note(connection, name, actor, "updated", detail)
                else:
                    self._note(connection, name, actor, "shadowed", detail)
                    traffic = [*before.traffic, Share(number, shadow, is_shadow=True)]
                    self._split(connection, name, traffic, actor, "a new revision as a shadow")
            elif shadow is not None:
                raise InvalidNameError(
                    f"revision {goal.number} has this image and these settings, and is the goal: "
                    "a shadow is another one"
                )
            elif image is not None and _is_without_traffic(before):
                self._aim(connection, name, goal.number)
                detail = {"image": _pinned(found), "revision": goal.number}
                self._note(connection, name, actor, "updated", detail)
            if service is not None and service != before.service:
                connection.execute(
                    "UPDATE deployments SET service = ?, change = change + 1 WHERE name = ?",
                    (_json(service), name),
                )
                self._note(connection, name, actor, "changed", _difference(before.service, service))
            return rows.find(connection, name)

    def rollback(self, name: str, to: str | int | None, *, actor: str) -> Deployment:
        """Make an earlier revision the goal again: by its number, by digest (or its beginning), by
        image ``name:version``; None: the one before the goal. Raises NotFoundError."""
        with self._database.write() as connection:
            before = _wanted(connection, name)
            revision = _earlier(before, to)
            self._aim(connection, name, revision.number)
            detail = {"image": f"{revision.image}@{revision.digest}", "revision": revision.number}
            self._note(connection, name, actor, "rolled back", {**detail, "from": before.goal})
            return rows.find(connection, name)

    def set_traffic(
        self, name: str, traffic: Sequence[Share], *, actor: str, why: str = ""
    ) -> Deployment:
        """Say what gets the traffic from now on. Raises InvalidNameError where it is not 100 %."""
        with self._database.write() as connection:
            self._split(connection, name, traffic, actor, why)
            return rows.find(connection, name)

    def delete(self, name: str, *, actor: str) -> Deployment:
        """Want it no more: the controller stops it and says ``forget``."""
        with self._database.write() as connection:
            found = rows.find(connection, name)
            if found.is_wanted:
                connection.execute(
                    "UPDATE deployments SET is_wanted = 0, change = change + 1 WHERE name = ?",
                    (name,),
                )
                self._note(connection, name, actor, "deleted", {})
            return rows.find(connection, name)

    def forget(self, name: str) -> None:
        """Remove what nothing runs of any more; its ledger stays. Raises InUseError for one that
        is wanted."""
        with self._database.write() as connection:
            found = rows.find(connection, name)
            if found.is_wanted:
                raise InUseError(f"deployment {name}", ["its declaration"], "by")
            connection.execute("DELETE FROM image_users WHERE user = ?", (name,))
            connection.execute("DELETE FROM deployments WHERE name = ?", (name,))

    def drop_revision(self, name: str, number: int, *, actor: str) -> Deployment:
        """Forget an old revision, so that its image can be deleted. Raises InUseError for the goal
        and for what has traffic."""
        with self._database.write() as connection:
            found = rows.find(connection, name)
            revision = _earlier(found, number)
            live = {found.goal, *(share.revision for share in found.traffic)}
            if number in live:
                raise InUseError(f"revision {number}", [name], "deployment")
            connection.execute(
                "DELETE FROM deployment_revisions WHERE deployment = ? AND revision = ?",
                (name, number),
            )
            _release(connection, name, revision.image)
            self._note(connection, name, actor, "dropped", {"revision": number})
            return rows.find(connection, name)

    def list(self) -> list[Deployment]:
        """All, by name."""
        with self._database.read() as connection:
            return rows.every(connection)

    def page(self, *, limit: int, token: str | None = None) -> Page[Deployment]:
        """At most ``limit`` of ``list`` that follow. Raises InvalidNameError."""
        check_limit(limit, DEPLOYMENTS)
        after = "" if token is None else key_of(DEPLOYMENTS, token)[0]
        with self._database.read() as connection:
            found = rows.every(connection, after, limit + 1)
        return page_of(DEPLOYMENTS, found, limit, lambda each: (each.name, 0))

    def get(self, name: str) -> Deployment:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            return rows.find(connection, name)

    def changes(self) -> dict[str, int]:
        """``change`` by name: cheap to ask often."""
        with self._database.read() as connection:
            return {
                row["name"]: row["change"]
                for row in connection.execute("SELECT name, change FROM deployments")
            }

    def attempt(self, name: str) -> int:
        """Which entry of the ledger made the goal what it is: another one whenever it is named,
        also when it is the same again. 0: nobody has."""
        with self._database.read() as connection:
            return ledger.newest(connection, name, AIMS)

    # Secrets and keys.

    def set_secret(self, name: str, key: str, value: bytes, *, actor: str) -> None:
        """Running replicas keep what they have until they are renewed. Raises InvalidNameError."""
        sealed = self._sealed(key, value)
        with self._database.write() as connection:
            found = _wanted(connection, name)
            if key not in found.secrets and len(found.secrets) >= MAX_SECRETS:
                raise InvalidNameError(f"a deployment has at most {MAX_SECRETS} secrets")
            connection.execute(
                "INSERT OR REPLACE INTO deployment_secrets VALUES (?, ?, ?, ?)",
                (name, key, sealed, self._clock()),
            )
            self._note(connection, name, actor, "secret set", {"secret": key})

    def remove_secret(self, name: str, key: str, *, actor: str) -> None:
        """Raises NotFoundError, InUseError while the goal or a revision with traffic names it."""
        with self._database.write() as connection:
            found = rows.find(connection, name)
            if key not in found.secrets:
                raise NotFoundError(f"deployment '{name}' has no secret '{key}'")
            live = {found.goal, *(share.revision for share in found.traffic)}
            users = [str(n) for n in sorted(live) if key in found.revision(n).settings.secrets]
            if users:
                raise InUseError(f"secret {key}", users, "revision")
            connection.execute(
                "DELETE FROM deployment_secrets WHERE deployment = ? AND name = ?", (name, key)
            )
            self._note(connection, name, actor, "secret removed", {"secret": key})

    def secrets(self, name: str) -> dict[str, bytes]:
        """Opened, for whoever starts a replica. Raises TrustError."""
        with self._database.read() as connection:
            rows.find(connection, name)
            found = connection.execute(
                "SELECT name, sealed FROM deployment_secrets WHERE deployment = ?", (name,)
            ).fetchall()
        return {row["name"]: self._seal.open(row["sealed"]) for row in found}

    def keys(self, name: str) -> dict[Slot, str]:
        """The two keys that open the service, either of them. Raises TrustError."""
        with self._database.read() as connection:
            rows.find(connection, name)
            found = connection.execute(
                "SELECT slot, sealed FROM deployment_keys WHERE deployment = ? ORDER BY slot",
                (name,),
            ).fetchall()
        return {row["slot"]: self._seal.open(row["sealed"]).decode() for row in found}

    def renew_key(self, name: str, slot: Slot, *, actor: str) -> str:
        """Make one of the two keys anew; the other opens on, so that clients can change over."""
        if slot not in get_args(Slot):
            raise InvalidNameError(f"{ascii(slot)[:40]} is no key; there are primary and secondary")
        with self._database.write() as connection:
            _wanted(connection, name)
            key = self._renew(connection, name, slot)
            connection.execute("UPDATE deployments SET change = change + 1 WHERE name = ?", (name,))
            self._note(connection, name, actor, "key renewed", {"slot": slot})
        return key

    # What was seen.

    def observe(self, name: str, observed: Observed) -> None:
        """Keep what the controller saw; nothing where the deployment is gone."""
        replicas = msgspec.json.encode(observed.replicas).decode()
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM deployments WHERE name = ?", (name,)).fetchone():
                connection.execute(
                    "INSERT OR REPLACE INTO deployment_state VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        name,
                        observed.state,
                        observed.cause,
                        observed.url,
                        observed.change,
                        replicas,
                        observed.seen_at,
                        observed.memory,
                    ),
                )

    def note(self, name: str, event: str, detail: Mapping[str, Any], *, actor: str) -> None:
        """An entry of the controller's own: a replica was lost, a rollout was taken back."""
        with self._database.write() as connection:
            self._note(connection, name, actor, event, detail)

    def ledger(self, name: str | None = None, *, after: int = 0, limit: int = 1000) -> Entries:
        """Entries in order, also of deployments that are gone."""
        with self._database.read() as connection:
            return ledger.read(connection, name, after, limit)

    def live_at(self, name: str, at: str) -> Live | None:
        """What got the traffic at ``at`` (UTC, ISO 8601, as the ledger writes it)."""
        with self._database.read() as connection:
            entries = ledger.read(connection, name, 0, -1)
        if not entries:
            raise NotFoundError(f"there never was a deployment '{name}'")
        return ledger.live_at(entries, at)

    # Parts.

    def _sealed(self, key: str, value: bytes) -> bytes:
        names.check_name(key, "secret")
        if len(value) > MAX_SECRET_BYTES:
            raise InvalidNameError(
                f"secret {key} has {len(value)} bytes; at most {MAX_SECRET_BYTES} are allowed"
            )
        return self._seal.close(value)

    def _renew(self, connection: sqlite3.Connection, name: str, slot: str) -> str:
        key = randomness.token_urlsafe(32)
        connection.execute(
            "INSERT OR REPLACE INTO deployment_keys VALUES (?, ?, ?, ?)",
            (name, slot, self._seal.close(key.encode()), self._clock()),
        )
        return key

    def _split(
        self,
        connection: sqlite3.Connection,
        name: str,
        traffic: Sequence[Share],
        actor: str,
        why: str,
    ) -> None:
        found = _wanted(connection, name)
        _check_traffic(traffic, found)
        rows.write_traffic(connection, name, traffic)
        connection.execute("UPDATE deployments SET change = change + 1 WHERE name = ?", (name,))
        images = {s.revision: _pinned_revision(found.revision(s.revision)) for s in traffic}
        detail = ledger.live_detail(traffic, images)
        self._note(connection, name, actor, ledger.LIVE, {**detail, "why": why[:1000]})

    def _aim(self, connection: sqlite3.Connection, name: str, number: int) -> None:
        connection.execute(
            "UPDATE deployments SET goal = ?, change = change + 1 WHERE name = ?", (number, name)
        )

    def _note(
        self,
        connection: sqlite3.Connection,
        name: str,
        actor: str,
        event: str,
        detail: Mapping[str, Any],
    ) -> None:
        ledger.append(connection, self._clock(), name, actor, event, detail)


def _wanted(connection: sqlite3.Connection, name: str) -> Deployment:
    found = rows.find(connection, name)
    if not found.is_wanted:
        raise NotFoundError(f"the deployment '{name}' is being deleted")
    return found


def _kind_of(connection: sqlite3.Connection, target: str) -> str:
    """Raises NotFoundError."""
    names.check_name(target, "target name")
    row = connection.execute("SELECT kind FROM targets WHERE name = ?", (target,)).fetchone()
    if row is None:
        other = connection.execute(
            "SELECT kind FROM run_targets WHERE name = ?", (target,)
        ).fetchone()
        if other is not None:
            raise InvalidNameError(
                f"the target '{target}' is of kind {other['kind']}, which runs scripts but no"
                " deployments; see inferry target list"
            )
    if row is None:
        raise NotFoundError(
            f"there is no target '{target}'; see inferry target list, or inferry target attach"
        )
    return str(row["kind"])


def _is_without_traffic(deployment: Deployment) -> bool:
    """Something else has what the goal shall have."""
    live = [share for share in deployment.traffic if not share.is_shadow]
    return bool(live) and live != [Share(deployment.goal, 100.0)]


def _image(connection: sqlite3.Connection, ref: str) -> Image:
    row = image_rows.find(connection, names.parse_reference(ref, "image"))
    image = image_rows.read(connection, row)
    if image.state != "succeeded" or image.digest is None:
        raise ImageFailedError(f"the image {image.reference} was not made: {image.cause}")
    return image


def _add_revision(
    connection: sqlite3.Connection,
    name: str,
    number: int,
    image: Image,
    settings: RevisionSettings,
    now: str,
    actor: str,
) -> None:
    connection.execute(
        "INSERT INTO deployment_revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (name, number, image.name, image.version, image.digest, _json(settings), now, actor),
    )
    connection.execute(
        "INSERT OR IGNORE INTO image_users VALUES (?, ?, ?)", (image.name, image.version, name)
    )


def _release(connection: sqlite3.Connection, name: str, image: str) -> None:
    """The image is free again unless another revision has it."""
    reference = names.parse_reference(image, "image")
    connection.execute(
        "DELETE FROM image_users WHERE name = ?1 AND version = ?2 AND user = ?3 AND NOT EXISTS ("
        "SELECT 1 FROM deployment_revisions"
        " WHERE deployment = ?3 AND image = ?1 AND image_version = ?2)",
        (reference.name, reference.version, name),
    )


def _next_revision(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute(
        "UPDATE deployments SET next_revision = next_revision + 1 WHERE name = ?"
        " RETURNING next_revision - 1",
        (name,),
    ).fetchone()
    return int(row[0])


def _earlier(deployment: Deployment, to: str | int | None) -> Revision:
    others = [each for each in deployment.revisions if each.number != deployment.goal]
    if to is None:
        before = [each for each in others if each.number < deployment.goal]
        if not before:
            raise NotFoundError(f"the deployment '{deployment.name}' has no earlier revision")
        return before[-1]
    text = str(to)
    for each in reversed(deployment.revisions):
        if text in (str(each.number), each.image, each.digest):
            return each
    prefix = text if text.startswith("sha256:") else f"sha256:{text}"
    matches = [each for each in deployment.revisions if each.digest.startswith(prefix)]
    if len(text.removeprefix("sha256:")) >= 6 and len({each.digest for each in matches}) == 1:
        return matches[-1]
    raise NotFoundError(
        f"the deployment '{deployment.name}' has no revision {ascii(text)[:80]};"
        f" see inferry deployment show {deployment.name}"
    )


def _check_traffic(traffic: Sequence[Share], deployment: Deployment) -> None:
    numbers = {each.number for each in deployment.revisions}
    for share in traffic:
        if share.revision not in numbers:
            raise InvalidNameError(f"there is no revision {share.revision} of {deployment.name}")
        if not math.isfinite(share.percent) or not 0 <= share.percent <= 100:
            raise InvalidNameError(f"{share.percent} is no percentage")
    if len({share.revision for share in traffic}) != len(traffic):
        raise InvalidNameError("a revision has one share of the traffic")
    whole = sum(share.percent for share in traffic if not share.is_shadow)
    if not math.isclose(whole, 100, abs_tol=0.01):
        raise InvalidNameError(f"the shares of the traffic must be 100 % together, not {whole:g} %")


def _difference(before: ServiceSettings, after: ServiceSettings) -> dict[str, Any]:
    """What changed, as old and new value."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return {
        key: [old.get(key), new.get(key)]
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    }


def _pinned(image: Image) -> str:
    return f"{image.reference}@{image.digest}"


def _pinned_revision(revision: Revision) -> str:
    return f"{revision.image}@{revision.digest}"


def _json(value: ServiceSettings | RevisionSettings) -> str:
    return msgspec.json.encode(value).decode()
