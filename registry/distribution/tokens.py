"""Tokens: who may read or write over the network.

A token is shown once and kept as its SHA-256 (it is 32 random bytes, so nothing is to be guessed).
A workspace that ever had a token stays closed to everyone without: a revoked or expired one must
not open it.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from registry import names
from registry.database import Database
from registry.errors import InvalidNameError, NotFoundError
from registry.pages import Page, check_limit, key_of, page_of

PREFIX = "ify_"
TOKENS = "tokens"
"""What page tokens say that they are of."""
Access = Literal["read", "write"]
Role = Literal["puller", "reader", "contributor", "owner"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may."""
Clock = Callable[[], float]
UNNAMED = "local"
"""Who asks in a workspace without tokens."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; times are seconds since 1970."""

    name: str
    role: Role
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    @property
    def access(self) -> Access:
        """What it may do to images at ``/v2/``."""
        return access_of(self.role)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a secret names."""

    name: str
    role: Role


def access_of(role: Role) -> Access:
    """What someone of this role may do to images."""
    return "write" if role in ("contributor", "owner") else "read"


class Tokens:
    """The tokens of one workspace."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str, role: Role, lifetime_s: float | None) -> str:
        """Make one; returns the secret, which is kept nowhere. Raises InvalidNameError."""
        names.check_name(name, "token name")
        secret = PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        expires_at = None if lifetime_s is None else now + lifetime_s
        try:
            with self._database.write() as connection:
                connection.execute(
                    "INSERT INTO tokens (name, access, role, sha256, created_at, expires_at)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (name, access_of(role), role, _sha256(secret), now, expires_at),
                )
        except sqlite3.IntegrityError as error:
            raise InvalidNameError(
                f"there is a token '{name}' already; revoke it or take another name"
            ) from error
        return secret

    def list(self) -> list[Token]:
        """All that were ever made, the oldest first."""
        with self._database.read() as connection:
            return [_token(row) for row in connection.execute("SELECT * FROM tokens ORDER BY id")]

    def page(self, *, limit: int, token: str | None = None) -> Page[Token]:
        """At most ``limit`` of ``list`` that follow. Raises InvalidNameError."""
        check_limit(limit, TOKENS)
        after = 0 if token is None else key_of(TOKENS, token)[1]
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM tokens WHERE id > ? ORDER BY id LIMIT ?", (after, limit + 1)
            ).fetchall()
        page = page_of(TOKENS, rows, limit, lambda row: ("", row["id"]))
        return Page(tuple(map(_token, page.items)), page.next_token)

    def revoke(self, name: str) -> None:
        """From now on it opens nothing. Raises NotFoundError."""
        with self._database.write() as connection:
            done = connection.execute(
                "UPDATE tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL",
                (self._clock(), name),
            )
        if done.rowcount == 0:
            raise NotFoundError(f"there is no token '{name}'; see inferry registry token list")

    def are_needed(self) -> bool:
        """Whether the workspace ever had a token."""
        with self._database.read() as connection:
            return connection.execute("SELECT 1 FROM tokens LIMIT 1").fetchone() is not None

    def access(self, secret: str | None) -> Access | None:
        """What the bearer of ``secret`` may do to images: None is nothing."""
        found = self.bearer(secret)
        return None if found is None else access_of(found.role)

    def bearer(self, secret: str | None) -> Bearer | None:
        """Whom ``secret`` names: None is nobody. In a workspace without tokens everyone is its
        owner; the server sees to it that only this machine can ask."""
        with self._database.read() as connection:
            # By an index: the time tells how the SHA-256 of the secret begins, which helps nobody
            # who does not have the secret.
            row = connection.execute(
                "SELECT * FROM tokens WHERE sha256 = ?", (_sha256(secret or ""),)
            ).fetchone()
            if row is None:
                is_open = connection.execute("SELECT 1 FROM tokens LIMIT 1").fetchone() is None
                return Bearer(UNNAMED, "owner") if is_open else None
        return Bearer(row["name"], row["role"]) if _is_live(row, self._clock()) else None


def _token(row: sqlite3.Row) -> Token:
    return Token(row["name"], row["role"], row["created_at"], row["expires_at"], row["revoked_at"])


def _is_live(row: sqlite3.Row, now: float) -> bool:
    return row["revoked_at"] is None and (row["expires_at"] is None or now < row["expires_at"])


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
